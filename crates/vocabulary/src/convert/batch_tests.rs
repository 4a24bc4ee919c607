//! Batches survive both forms, which are one on the wire; bad ones are named.

use acgs_columns::{Cell, Role, builder::BatchBuilder};
use acgs_contracts::lane::v1 as lane;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::convert::lane_batch;

fn schema() -> Arc<Schema> {
    let field = |name: &str, kind| Field::new(name, kind, Role::Feature);
    Arc::new(
        Schema::new(vec![
            field("d", Kind::Double),
            field("i", Kind::Int64),
            field("b", Kind::Boolean),
            field("s", Kind::Text),
            field("t", Kind::Timestamp),
        ])
        .unwrap(),
    )
}

prop_compose! {
    fn batches()(rows in prop::collection::vec(
        (prop::option::of(any::<f64>().prop_filter("nan is not equal to itself", |x| !x.is_nan())),
         prop::option::of(any::<i64>()), prop::option::of(any::<bool>()), prop::option::of("[a-c]{0,3}"),
         any::<i64>()), 1..60)) -> RecordBatch {
        let mut builder = BatchBuilder::new(schema());
        for (d, i, b, s, t) in &rows {
            builder.push(&[
                d.map_or(Cell::Null, Cell::Number), i.map_or(Cell::Null, Cell::Integer),
                b.map_or(Cell::Null, Cell::Boolean), s.as_deref().map_or(Cell::Null, Cell::Text),
                Cell::Integer(*t),
            ]).unwrap();
        }
        builder.finish().unwrap()
    }
}

proptest! {
    #[test]
    fn both_forms_round_trip_and_are_one_on_the_wire(original in batches()) {
        let client = to_proto(&original);
        prop_assert_eq!(&batch(client.clone(), &schema()).unwrap(), &original);
        let on_lane = lane_batch::to_proto(&original);
        prop_assert_eq!(&lane_batch::batch(&on_lane, &schema()).unwrap(), &original);
        let bytes = client.encode_to_vec();
        let decoded = lane::LaneBatch::decode(&bytes[..]).unwrap();
        prop_assert_eq!(&lane_batch::batch(&decoded, &schema()).unwrap(), &original);
        prop_assert_eq!(bytes, on_lane.encode_to_vec());
    }

    #[test]
    fn any_message_is_a_batch_or_a_named_problem(
        row_count in 0..20_u32, doubles in prop::collection::vec(any::<f64>(), 0..20),
        codes in prop::collection::vec(0..5_u32, 0..20), dictionary in prop::collection::vec("[a-z]", 0..4),
        validity in prop::collection::vec(any::<u8>(), 0..4), count in 0..4_usize,
    ) {
        let fields = vec![Field::new("d", Kind::Double, Role::None), Field::new("s", Kind::Text, Role::None)];
        let schema = Arc::new(Schema::new(fields).unwrap());
        let first = proto::Column { doubles, validity: validity.into(), ..Default::default() };
        let second = proto::Column { codes, dictionary, ..Default::default() };
        let columns = [first, second].into_iter().cycle().take(count).collect();
        if let Err(problem) = batch(proto::RecordBatch { row_count, columns }, &schema) {
            prop_assert!(problem.field_path().is_some());
        }
    }
}
