//! What makes a schema, and what does not.

use super::*;

#[test]
fn good_fields_make_a_schema() {
    let schema = Schema::new(vec![
        Field::new("ts", Kind::Timestamp, Role::Timestamp),
        Field::new("a", Kind::Double, Role::Feature),
        Field::new("b", Kind::Text, Role::Feature),
    ])
    .unwrap();
    assert_eq!(schema.index_of("b"), Some(2));
    assert_eq!(schema.index_of("c"), None);
    assert_eq!(schema.index_of_role(Role::Timestamp), Some(0));
}

#[test]
fn each_rule_is_named() {
    assert_eq!(Schema::new(vec![]), Err(SchemaError::FieldCount(0)));
    let field = |name: &str, kind, role| Field::new(name, kind, role);
    let two = |first, second| Schema::new(vec![first, second]).unwrap_err();
    let double = |name: &str, role| field(name, Kind::Double, role);
    assert_eq!(two(double("", Role::None), double("a", Role::None)), SchemaError::Name(0));
    assert_eq!(two(double("a", Role::None), double("a", Role::None)), SchemaError::DuplicateName("a".into()));
    assert_eq!(
        two(double("a", Role::Score), double("b", Role::Score)),
        SchemaError::DuplicateRole(Role::Score)
    );
    assert!(matches!(two(double("a", Role::Id), double("b", Role::None)), SchemaError::RoleKind { .. }));
    let mut upside_down = double("a", Role::Feature);
    upside_down.minimum = Some(2.0);
    upside_down.maximum = Some(1.0);
    assert_eq!(two(upside_down, double("b", Role::None)), SchemaError::Range("a".into()));
    let mut text = field("a", Kind::Text, Role::Feature);
    text.minimum = Some(0.0);
    assert_eq!(two(text, double("b", Role::None)), SchemaError::Range("a".into()));
}
