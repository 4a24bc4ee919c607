//! The HTTP side of RPCs, read from `google.api.http` in the descriptors. It must not know what an RPC does.

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value,
};

use super::write::Sink;

/// Where a method's rule stands among its options.
const HTTP_EXTENSION: &str = "google.api.http";

/// One way to reach a unary RPC over HTTP.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// `GET`, `POST`, …
    pub(super) method: http::Method,
    /// As axum takes it: `{field}` is a field of the request.
    pub(super) path: String,
    /// `/package.Service/Method`.
    pub(super) rpc: String,
    pub(super) input: MessageDescriptor,
    pub(super) output: MessageDescriptor,
}

/// The rules of the unary RPCs of some services, by full name.
pub(super) fn rules(pool: &DescriptorPool, services: &[&str]) -> Vec<Rule> {
    let Some(extension) = pool.get_extension_by_name(HTTP_EXTENSION) else { return Vec::new() };
    let named = |service: &&str| pool.get_service_by_name(service);
    let mut found = Vec::new();
    for service in services.iter().filter_map(named) {
        for method in service.methods() {
            if method.is_client_streaming() || method.is_server_streaming() {
                continue;
            }
            let options = method.options();
            if !options.has_extension(&extension) {
                continue;
            }
            if let Value::Message(rule) = options.get_extension(&extension).as_ref() {
                collect(&method, rule, &mut found);
            }
        }
    }
    found
}

/// A path of an RPC, to tell what stands at another port.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    segments: Vec<String>,
    service: String,
}

impl Path {
    pub(super) fn of(rule: &Rule) -> Self {
        let service = rule.rpc.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
        Self { segments: rule.path.split('/').map(str::to_owned).collect(), service }
    }

    /// Whether this is it.
    pub(crate) fn is(&self, path: &str) -> bool {
        let mut given = path.split('/');
        let same = self
            .segments
            .iter()
            .all(|segment| given.next().is_some_and(|given| segment.starts_with('{') || segment == given));
        same && given.next().is_none()
    }

    /// The full name of its service.
    pub(crate) fn service(&self) -> &str {
        &self.service
    }
}

fn collect(method: &MethodDescriptor, rule: &DynamicMessage, found: &mut Vec<Rule>) {
    for verb in ["get", "put", "post", "delete", "patch"] {
        if let Some(path) = rule.get_field_by_name(verb).and_then(|path| path.as_str().map(str::to_owned))
            && !path.is_empty()
            && let Ok(verb) = http::Method::from_bytes(verb.to_uppercase().as_bytes())
        {
            found.push(Rule {
                method: verb,
                path,
                rpc: format!("/{}/{}", method.parent_service().full_name(), method.name()),
                input: method.input(),
                output: method.output(),
            });
        }
    }
    let further = rule.get_field_by_name("additional_bindings");
    for further in further.iter().filter_map(|value| value.as_list()).flatten() {
        if let Value::Message(further) = further {
            collect(method, further, found);
        }
    }
}

/// Writes fields that came by path or query: scalars by name, lists by repeating the name, members of messages by dots.
///
/// # Errors
/// The name, and what is wrong with it.
pub(super) fn write_pairs(
    input: &MessageDescriptor,
    pairs: &[(String, String)],
    sink: &mut Sink,
) -> Result<(), (String, String)> {
    for (name, text) in pairs {
        let wrong = |what: &str| (name.chars().take(64).collect::<String>(), what.to_owned());
        let mut path: Vec<&str> = name.split('.').collect();
        let last = path.pop().unwrap_or_default();
        let mut message = input.clone();
        let mut outer = Vec::new();
        for part in path {
            let field = field(&message, part).ok_or_else(|| wrong("is no field of the request"))?;
            let Kind::Message(inner) = field.kind() else { return Err(wrong("is no field of the request")) };
            outer.push(field.number());
            message = inner;
        }
        let Some(field) = field(&message, last) else {
            return Err(wrong("is no field of the request"));
        };
        if matches!(field.kind(), Kind::Message(_)) {
            return Err(wrong("cannot be given so; send it in the body"));
        }
        // A message in pieces is one message on the wire.
        sink.text_field(&outer, &field, text).map_err(|error| wrong(&error))?;
    }
    Ok(())
}

fn field(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name))
}
