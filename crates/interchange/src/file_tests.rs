//! What goes in comes out, in both forms, and nonsense is refused.

use acgs_columns::{Cell, Field, Kind, Role, Scale, builder::BatchBuilder};
use proptest::prelude::*;

use super::*;

type Row = (Option<f64>, Option<i64>, Option<bool>, Option<String>, Option<i64>);

fn schema() -> Arc<Schema> {
    let fields = vec![
        Field::new("score", Kind::Double, Role::Score),
        Field::new("id", Kind::Int64, Role::Id),
        Field { positive: Some("true".into()), ..Field::new("late", Kind::Boolean, Role::Label) },
        Field { scale: Some(Scale::Nominal), ..Field::new("carrier", Kind::Text, Role::Feature) },
        Field::new("ts", Kind::Timestamp, Role::Timestamp),
    ];
    Arc::new(Schema::new(fields).unwrap())
}

fn batch(rows: &[Row]) -> RecordBatch {
    let mut builder = BatchBuilder::new(schema());
    for (score, id, late, carrier, time_ms) in rows {
        let cells = [
            score.map_or(Cell::Null, Cell::Number),
            id.map_or(Cell::Null, Cell::Integer),
            late.map_or(Cell::Null, Cell::Boolean),
            carrier.as_deref().map_or(Cell::Null, Cell::Text),
            time_ms.map_or(Cell::Null, Cell::Integer),
        ];
        builder.push(&cells).unwrap();
    }
    builder.finish().unwrap()
}

fn cells(batches: &[RecordBatch]) -> Vec<Row> {
    let row = |batch: &RecordBatch, row: usize| {
        let columns = batch.columns();
        let valid = |place: usize| columns[place].is_valid(row);
        let late = match &columns[2].values {
            acgs_columns::Values::Boolean(bits) => bits.get(row),
            _ => panic!("booleans"),
        };
        (
            columns[0].number(row).filter(|_| valid(0)),
            columns[1].integer(row),
            valid(2).then_some(late),
            columns[3].text(row).map(ToString::to_string),
            columns[4].integer(row),
        )
    };
    batches.iter().flat_map(|batch| (0..batch.rows()).map(move |at| row(batch, at))).collect()
}

fn any_row() -> impl Strategy<Value = Row> {
    let number = prop::option::of(-1e9..1e9_f64);
    let text = prop::option::of("[a-zü]{0,6}");
    (number, any::<Option<i64>>(), any::<Option<bool>>(), text, prop::option::of(0..2_000_000_000_000_i64))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn both_forms_keep_everything(rows in prop::collection::vec(any_row(), 1..40)) {
        let batches = [batch(&rows), batch(&rows)];
        let parquet = to_parquet(&schema(), &batches).unwrap();
        prop_assert_eq!(&parquet, &to_parquet(&schema(), &batches).unwrap(), "the same bytes again");
        let (fields, read) = from_parquet(parquet.into()).unwrap();
        prop_assert_eq!(&fields, &schema());
        prop_assert_eq!(cells(&read), cells(&batches));
        let (fields, read) = from_arrow(&to_arrow(&schema(), &batches).unwrap()).unwrap();
        prop_assert_eq!(&fields, &schema());
        prop_assert_eq!(cells(&read), cells(&batches));
    }

    #[test]
    fn nonsense_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(from_parquet(bytes.clone().into()).is_err());
        prop_assert!(from_arrow(&bytes).is_err());
    }
}
