//! Cells become columns, or an error that names them.

use super::*;
use crate::schema::{Field, Role};

#[test]
fn cells_become_columns_and_bad_ones_are_named() {
    let schema = Schema::new(vec![
        Field::new("n", Kind::Int64, Role::Feature),
        Field::new("s", Kind::Text, Role::Feature),
    ]);
    let mut builder = BatchBuilder::new(Arc::new(schema.unwrap()));
    builder.push(&[Cell::Number(3.0), Cell::Text("a")]).unwrap();
    builder.push(&[Cell::Null]).unwrap();
    let error = builder.push(&[Cell::Integer(1), Cell::Boolean(true)]).unwrap_err();
    assert_eq!((error.row, error.field.as_str()), (2, "s"));
    builder.push(&[Cell::Integer(i64::MIN), Cell::Text("a")]).unwrap();
    let batch = builder.finish().unwrap();
    assert_eq!(batch.rows(), 3);
    let numbers: Vec<_> = (0..3).map(|row| batch.columns()[0].integer(row)).collect();
    assert_eq!(numbers, [Some(3), None, Some(i64::MIN)]);
    let texts: Vec<_> = (0..3).map(|row| batch.columns()[1].text(row).map(|text| &**text)).collect();
    assert_eq!(texts, [Some("a"), None, Some("a")]);
    assert!(builder.finish().is_err());
}

#[test]
fn kinds_are_inferred() {
    use Cell::{Boolean, Null, Number, Text};
    assert_eq!(infer_kind([Null, Number(1.0)].into_iter()), Some(Kind::Int64));
    assert_eq!(infer_kind([Number(1.0), Number(1.5)].into_iter()), Some(Kind::Double));
    assert_eq!(infer_kind([Boolean(true), Null].into_iter()), Some(Kind::Boolean));
    assert_eq!(infer_kind([Text("x"), Number(1.0)].into_iter()), None);
    assert_eq!(infer_kind([Null].into_iter()), None);
    assert_eq!(whole(1e300), None);
    assert_eq!(whole(f64::NAN), None);
}

#[test]
fn a_double_is_an_integer_where_it_can_be_no_other() {
    assert_eq!(whole(9_007_199_254_740_991.0), Some(9_007_199_254_740_991));
    assert_eq!(whole(-9_007_199_254_740_991.0), Some(-9_007_199_254_740_991));
    // 2^53 + 1 is this one too: which of the two was meant, nobody knows.
    assert_eq!((whole(9_007_199_254_740_992.0), whole(-9_007_199_254_740_992.0)), (None, None));
    assert_eq!((whole(0.5), whole(f64::NAN), whole(f64::INFINITY)), (None, None, None));
}
