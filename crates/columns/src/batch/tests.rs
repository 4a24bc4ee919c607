//! Batches hold what they were given, sliced or gathered.

use proptest::prelude::*;

use super::*;
use crate::schema::{Field, Role};

fn schema() -> Arc<Schema> {
    let fields = vec![
        Field::new("x", Kind::Double, Role::Feature),
        Field::new("n", Kind::Int64, Role::Feature),
        Field::new("b", Kind::Boolean, Role::Feature),
        Field::new("s", Kind::Text, Role::Feature),
    ];
    Arc::new(Schema::new(fields).unwrap())
}

fn batch(rows: &[(f64, i64, bool, u32, bool)]) -> RecordBatch {
    let validity = Some(Bitmap::from_bits(rows.iter().map(|row| row.4)));
    let column = |values| Column { values, validity: validity.clone() };
    let dictionary: Arc<[Arc<str>]> = ["a", "b", "c"].into_iter().map(Arc::from).collect();
    let columns = vec![
        column(Values::Double(rows.iter().map(|row| row.0).collect::<Vec<_>>().into())),
        column(Values::Integer(rows.iter().map(|row| row.1).collect::<Vec<_>>().into())),
        column(Values::Boolean(Bitmap::from_bits(rows.iter().map(|row| row.2)))),
        column(Values::Text { codes: rows.iter().map(|row| row.3).collect::<Vec<_>>().into(), dictionary }),
    ];
    RecordBatch::new(schema(), rows.len(), columns).unwrap()
}

type Row = (f64, i64, bool, u32, bool);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((-1e9..1e9_f64, any::<i64>(), any::<bool>(), 0..3_u32, any::<bool>()), 1..100)
}

proptest! {
    #[test]
    fn slice_equals_the_rows_it_names(rows in rows(), start in 0..100_usize, length in 1..100_usize) {
        let start = start % rows.len();
        let length = 1 + (length - 1) % (rows.len() - start);
        let sliced = batch(&rows).slice(start, length);
        prop_assert_eq!(&sliced, &batch(&rows[start..start + length]));
        let bits = sliced.columns()[0].validity.as_ref().unwrap();
        prop_assert_eq!(bits.count_ones(), rows[start..start + length].iter().filter(|row| row.4).count());
        prop_assert_eq!(Bitmap::from_bytes(&bits.to_bytes(), length).unwrap(), bits.clone());
    }

    #[test]
    fn take_equals_the_rows_it_names(rows in rows(), places in prop::collection::vec(0..1000_u32, 1..50)) {
        let places: Vec<u32> = places.iter().map(|place| place % rows.len() as u32).collect();
        let taken: Vec<Row> = places.iter().map(|&place| rows[place as usize]).collect();
        prop_assert_eq!(batch(&rows).take(&places), batch(&taken));
    }
}

#[test]
fn each_rule_names_the_field() {
    let good = batch(&[(1.0, 2, true, 0, true)]);
    let columns = good.columns().to_vec();
    assert_eq!(RecordBatch::new(schema(), 0, columns.clone()), Err(BatchError::RowCount(0)));
    assert!(matches!(
        RecordBatch::new(schema(), 2, columns.clone()),
        Err(BatchError::Length { field, values: 1, rows: 2 }) if field == "x"
    ));
    assert!(matches!(
        RecordBatch::new(schema(), 1, columns[..3].to_vec()),
        Err(BatchError::ColumnCount { columns: 3, fields: 4 })
    ));
    let mut swapped = columns.clone();
    swapped.swap(0, 1);
    assert_eq!(RecordBatch::new(schema(), 1, swapped), Err(BatchError::Kind("x".into())));
    let mut short = columns.clone();
    short[1].validity = Bitmap::from_bytes(&[], 0);
    assert_eq!(RecordBatch::new(schema(), 1, short), Err(BatchError::Validity("n".into())));
    let mut wild = columns;
    wild[3].values = Values::Text { codes: vec![7].into(), dictionary: Arc::from([Arc::from("a")]) };
    assert!(matches!(RecordBatch::new(schema(), 1, wild), Err(BatchError::Code { code: 7, entries: 1, .. })));
}

#[test]
fn what_is_kept_goes_with_its_column() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Held(Arc<AtomicUsize>, usize);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_sub(self.1, Ordering::Relaxed);
        }
    }
    let held = Arc::new(AtomicUsize::new(0));
    let keep = |bytes| {
        held.fetch_add(bytes, Ordering::Relaxed);
        Ok::<_, std::convert::Infallible>(Held(Arc::clone(&held), bytes))
    };
    let whole = batch(&[(1.0, 2, true, 0, true), (2.0, 3, false, 1, true)]);
    let bytes = whole.heap_bytes();
    let Ok(whole) = whole.keeping(keep);
    assert_eq!(held.load(Ordering::Relaxed), bytes);
    let one = Arc::new(Schema::new(vec![Field::new("n", Kind::Int64, Role::Feature)]).unwrap());
    let projected = RecordBatch::new(one, 2, vec![whole.columns()[1].clone()]).unwrap();
    let part = projected.keeping_with(&whole, std::iter::once(1)).slice(0, 1);
    drop(whole);
    assert_eq!(held.load(Ordering::Relaxed), 16, "the others are gone");
    drop(part);
    assert_eq!(held.load(Ordering::Relaxed), 0);
}
