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
        two(double("a", Role::Latency), double("b", Role::Latency)),
        SchemaError::DuplicateRole(Role::Latency)
    );
    assert!(matches!(two(double("a", Role::Id), double("b", Role::None)), SchemaError::RoleKind { .. }));
    let mut upside_down = double("a", Role::Feature);
    upside_down.minimum = Some(2.0);
    upside_down.maximum = Some(1.0);
    assert_eq!(two(upside_down, double("b", Role::None)), SchemaError::Range("a".into()));
    let mut text = field("a", Kind::Text, Role::Feature);
    text.minimum = Some(0.0);
    assert_eq!(two(text, double("b", Role::None)), SchemaError::Range("a".into()));
    for (kind, role, quantile, fits) in [
        (Kind::Double, Role::Prediction, 0.9, true),
        (Kind::Double, Role::Prediction, 1.0, false),
        (Kind::Double, Role::Prediction, f64::NAN, false),
        (Kind::Text, Role::Prediction, 0.5, false),
        (Kind::Double, Role::Score, 0.5, false),
    ] {
        let found = Schema::new(vec![Field { quantile: Some(quantile), ..field("a", kind, role) }]).err();
        assert_eq!(found, (!fits).then(|| SchemaError::Quantile("a".into())), "{kind:?} {role:?} {quantile}");
    }
    let scaled = |kind, role, scale| {
        let mut scaled = field("a", kind, role);
        scaled.scale = Some(scale);
        Schema::new(vec![scaled]).err()
    };
    for (kind, role, scale, fits) in [
        (Kind::Int64, Role::Feature, Scale::Nominal, true),
        (Kind::Double, Role::Feature, Scale::Nominal, false),
        (Kind::Double, Role::Label, Scale::Nominal, true),
        (Kind::Double, Role::Score, Scale::Nominal, false),
        (Kind::Text, Role::Label, Scale::Numeric, true),
        (Kind::Text, Role::Feature, Scale::Numeric, false),
        (Kind::Boolean, Role::Label, Scale::Numeric, false),
        (Kind::Int64, Role::Prediction, Scale::Numeric, true),
    ] {
        let wanted = (!fits).then(|| SchemaError::Scale("a".into(), scale));
        assert_eq!(scaled(kind, role, scale), wanted, "{kind:?} {role:?} {scale:?}");
    }
}
