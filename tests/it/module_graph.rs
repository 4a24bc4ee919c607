//! Which files of a crate use which, as their `use` items and paths say. It must not know which uses are allowed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A file of a crate: the path of its module, empty for the root.
pub(crate) type Module = Vec<String>;

/// Files, and the files that each uses. A part of a file may use the file that it is a part of: that is no edge.
pub(crate) fn edges(source: &Path) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut texts = BTreeMap::new();
    collect(source, source, &mut texts);
    let modules: BTreeSet<Module> = texts.keys().cloned().collect();
    texts.iter().map(|(module, text)| (module.clone(), uses(module, text, &modules))).collect()
}

fn collect(source: &Path, folder: &Path, texts: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(source, &path, texts);
            continue;
        }
        let inside = path.strip_prefix(source).unwrap().to_string_lossy().replace('\\', "/");
        let Some(name) = inside.strip_suffix(".rs") else { continue };
        if name.ends_with("tests") || name.ends_with("/golden") || name.ends_with("/explorer") {
            continue;
        }
        let module = match name {
            "lib" | "main" => Vec::new(),
            name => name.split('/').map(str::to_owned).collect(),
        };
        texts.insert(module, code(&fs::read_to_string(&path).unwrap()));
    }
}

/// A file without its comments and its inline tests.
fn code(text: &str) -> String {
    let production = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    production.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn uses(module: &Module, text: &str, modules: &BTreeSet<Module>) -> BTreeSet<Module> {
    let mut paths = Vec::new();
    for statement in text.split(';') {
        let Some(at) = statement.rfind("use ") else { continue };
        let tree = statement[at + 4..].trim();
        let is_use = tree.chars().all(|letter| letter.is_alphanumeric() || "_:{}, \n*".contains(letter));
        if is_use {
            expand(String::new(), tree, &mut paths);
        }
    }
    paths.extend(inline(text));
    let found = paths.iter().filter_map(|path| resolve(module, path, modules));
    found.filter(|used| used != module && !module.starts_with(used)).collect()
}

/// The paths of a use tree.
fn expand(prefix: String, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        paths.push(format!("{prefix}{path}"));
        return;
    };
    let inner = rest.strip_suffix('}').unwrap_or(rest);
    let (mut depth, mut start) = (0_i32, 0);
    let prefix = format!("{prefix}{}", head.trim());
    for (at, letter) in inner.char_indices().chain([(inner.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[start..at].trim().is_empty() {
                    expand(prefix.clone(), &inner[start..at], paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Paths outside of use items.
fn inline(text: &str) -> impl Iterator<Item = String> + '_ {
    let is_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    text.split(move |letter: char| !is_path(letter))
        .filter(|path| path.contains("::") && !path.starts_with(':'))
        .map(str::to_owned)
}

/// The file that a path leads to, when it is one of this crate's.
fn resolve(module: &Module, path: &str, modules: &BTreeSet<Module>) -> Option<Module> {
    let mut parts = path.split("::").map(str::trim).peekable();
    let mut place: Module = match *parts.peek()? {
        "crate" => {
            parts.next();
            Vec::new()
        }
        "self" => {
            parts.next();
            module.clone()
        }
        "super" => {
            let mut place = module.clone();
            while parts.next_if(|part| *part == "super").is_some() {
                place.pop();
            }
            place
        }
        first => {
            let child = [module.as_slice(), &[first.to_owned()]].concat();
            modules.contains(&child).then(|| module.clone())?
        }
    };
    for part in parts {
        place.push(part.to_owned());
        if !modules.contains(&place) {
            place.pop();
            break;
        }
    }
    modules.contains(&place).then_some(place)
}

/// Files that use each other in a circle, if there are any: one circle.
pub(crate) fn circle(edges: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Vec<Module>> {
    let mut left: BTreeMap<&Module, BTreeSet<&Module>> =
        edges.iter().map(|(module, used)| (module, used.iter().collect())).collect();
    loop {
        // What uses nothing that is left is in no circle.
        let free: Vec<&Module> =
            left.iter().filter(|(_, used)| used.is_empty()).map(|(module, _)| *module).collect();
        if free.is_empty() {
            break;
        }
        for module in free {
            left.remove(module);
            left.values_mut().for_each(|used| {
                used.remove(module);
            });
        }
    }
    let mut walked: Vec<&Module> = vec![left.keys().next()?];
    loop {
        let next = left.get(walked.last()?)?.iter().next()?;
        if let Some(start) = walked.iter().position(|seen| seen == next) {
            return Some(walked[start..].iter().map(|module| (*module).clone()).collect());
        }
        walked.push(next);
    }
}

#[test]
fn circles_are_found_and_trees_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    write("lib.rs", "mod a;\nmod b;\npub use a::One;\n");
    write("a.rs", "mod part;\nuse crate::{\n    b::{Two, Three},\n};\nuse part::Four;\n");
    write("a/part.rs", "use super::One; // crate::b::Two would be one more\n");
    write("b.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::a::One;\n}\n");
    assert_eq!(circle(&edges(folder.path())), None, "parts, comments and tests are none");
    write("b.rs", "fn f() -> crate::a::part::Four { todo!() }\n");
    assert_eq!(circle(&edges(folder.path())), None, "a part does not make its whole");
    write("a/part.rs", "use super::super::b::f;\n");
    let found = circle(&edges(folder.path())).unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
}
