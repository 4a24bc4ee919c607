//! The contract is golden: every message, field, number, type and RPC as a line; a change of it is seen in review.

use std::{env, fs};

use acgs_contracts::DESCRIPTORS;
use acgs_tests::root;
use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};

fn lines() -> Vec<String> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut lines = Vec::new();
    for file in set.file.iter().filter(|file| !file.package().starts_with("google.protobuf")) {
        for message in &file.message_type {
            describe(file.package(), message, &mut lines);
        }
        for found in &file.enum_type {
            for value in &found.value {
                lines.push(format!(
                    "{}.{} {} = {}",
                    file.package(),
                    found.name(),
                    value.name(),
                    value.number()
                ));
            }
        }
        for service in &file.service {
            for method in &service.method {
                let stream = |is: bool| if is { "stream " } else { "" };
                lines.push(format!(
                    "{}.{}/{} ({}{}) -> {}{}",
                    file.package(),
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    method.input_type(),
                    stream(method.server_streaming()),
                    method.output_type()
                ));
            }
        }
    }
    lines.sort();
    lines
}

fn describe(scope: &str, message: &DescriptorProto, lines: &mut Vec<String>) {
    let name = format!("{scope}.{}", message.name());
    for field in &message.field {
        let kind = match field.r#type() {
            Type::Message | Type::Enum => field.type_name().to_owned(),
            other => format!("{other:?}").to_lowercase(),
        };
        lines.push(format!("{name} {} {:?} {kind} {}", field.number(), field.label(), field.name()));
    }
    message.nested_type.iter().for_each(|nested| describe(&name, nested, lines));
}

#[test]
fn the_contract_is_what_was_agreed() {
    let path = root().join("tests/golden/contract.txt");
    let now = lines().join("\n") + "\n";
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    let gone: Vec<&str> = golden.lines().filter(|line| !now.lines().any(|known| known == *line)).collect();
    let new: Vec<&str> = now.lines().filter(|line| !golden.lines().any(|known| known == *line)).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "the contract has changed; UPDATE_GOLDEN=1 accepts it\ngone: {gone:#?}\nnew: {new:#?}"
    );
}

#[test]
fn everything_is_commented() {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    for file in set.file.iter().filter(|file| file.package().starts_with("acgs.")) {
        let info = file.source_code_info.as_ref().unwrap();
        let commented = |path: &[i32]| {
            info.location
                .iter()
                .any(|location| location.path == path && !location.leading_comments().trim().is_empty())
        };
        for (index, message) in file.message_type.iter().enumerate() {
            let index = index as i32;
            assert!(commented(&[4, index]), "{} {}", file.name(), message.name());
            for (field, descriptor) in message.field.iter().enumerate() {
                let place = [4, index, 2, field as i32];
                assert!(commented(&place), "{} {}.{}", file.name(), message.name(), descriptor.name());
            }
        }
        for (index, service) in file.service.iter().enumerate() {
            for (method, descriptor) in service.method.iter().enumerate() {
                assert!(
                    commented(&[6, index as i32, 2, method as i32]),
                    "{}/{}",
                    service.name(),
                    descriptor.name()
                );
            }
        }
    }
}
