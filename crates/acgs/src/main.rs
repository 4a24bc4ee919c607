fn main() { println!("{}", acgs_contracts::DESCRIPTORS.len()); }
