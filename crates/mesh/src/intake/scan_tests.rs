//! What a scan adds up beside what decoding finds.

use acgs_contracts::quality::v1::AssessRequest;
use proptest::prelude::*;
use prost::Message;
use prost_types::{Struct, Value, value};

use super::*;
use crate::descriptors;

const ASSESS: &str = "/acgs.quality.v1.QualityService/Assess";

fn plan() -> Arc<Plan> {
    Arc::new(Plan::new(&descriptors::pool().unwrap()))
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

fn scan(plan: &Arc<Plan>, bytes: &[u8], cut: usize) -> Result<Scan, Problem> {
    let mut scan = Scan::new(plan, plan.input(ASSESS).unwrap());
    for piece in bytes.chunks(cut.max(1)) {
        scan.take(piece)?;
    }
    Ok(scan)
}

fn record(fields: usize) -> Struct {
    let value = |number: usize| Value { kind: Some(value::Kind::NumberValue(number as f64)) };
    Struct { fields: (0..fields).map(|number| (format!("field{number}"), value(number))).collect() }
}

/// As prost counts them: a node of eleven pairs, and what strings hold.
fn least(records: &[Struct]) -> usize {
    let node = |fields: usize| fields.div_ceil(11) * 11 * (size_of::<String>() + size_of::<Value>());
    records.iter().map(|record| size_of::<Struct>() + node(record.fields.len())).sum()
}

#[test]
fn what_is_decoded_was_counted() {
    let plan = plan();
    for (count, fields) in [(1, 1), (1_000, 1), (1_000, 20), (10, 300), (0, 0)] {
        let data: Vec<Struct> = (0..count).map(|_| record(fields)).collect();
        let least = least(&data);
        let bytes = framed(&AssessRequest { data, ..Default::default() }.encode_to_vec());
        let found = scan(&plan, &bytes, 1_000).unwrap();
        assert!(found.heap as usize >= least, "{} of {least} for {count} x {fields}", found.heap);
        assert!(found.heap as usize <= 4 * least + 1_000, "{} of {least} for {count} x {fields}", found.heap);
    }
}

#[test]
fn small_bytes_that_would_take_much_are_refused_before_they_are_read() {
    let plan = plan();
    // Four bytes each: a record with one field without a name or value.
    let number = AssessRequest { data: vec![record(1)], ..Default::default() }.encode_to_vec()[0];
    let message: Vec<u8> = [number, 2, 0x0a, 0].repeat(1_000_000);
    let mut scan = Scan::new(&plan, plan.input(ASSESS).unwrap());
    let mut read = 0;
    let refused = framed(&message).chunks(16_384).find_map(|piece| {
        read += piece.len();
        scan.take(piece).err()
    });
    let refused = refused.expect("a bound");
    assert_eq!((refused.reason(), refused.field_path()), ("TOO_MANY_ROWS", Some("data")));
    assert!(read < 500_000, "{read}");
}

#[test]
fn a_group_that_nobody_knows_hides_nothing_behind_it() {
    let plan = plan();
    let number = AssessRequest { data: vec![record(1)], ..Default::default() }.encode_to_vec()[0];
    // Field 1000 begins as a group, in which the list of records has something that is no record, and ends; then come the records.
    let group = [0xc3, 0x3e, number, 1, 0x07, 0xc4, 0x3e];
    let records = [number, 2, 0x0a, 0].repeat(1_000_000);
    let message = [&group[..], &records].concat();
    AssessRequest::decode(&message[..group.len()]).expect("prost skips the group");
    let found = scan(&plan, &framed(&message), 16_384);
    assert_eq!(found.expect_err("a bound").reason(), "TOO_MANY_ROWS");
}

proptest! {
    /// However it is cut, and whatever it is.
    #[test]
    fn it_reads_as_it_is_cut(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 1..50_usize) {
        let plan = plan();
        let framed = framed(&bytes);
        let (whole, pieces) = (scan(&plan, &framed, usize::MAX), scan(&plan, &framed, cut));
        match (whole, pieces) {
            (Ok(whole), Ok(pieces)) => {
                prop_assert_eq!(whole.heap, pieces.heap);
                prop_assert!(matches!(pieces.part, Part::Prefix(0)), "it ends where the message ends");
            }
            (whole, pieces) => prop_assert_eq!(whole.is_err(), pieces.is_err()),
        }
    }

    #[test]
    fn records_are_counted_as_they_are(fields in prop::collection::vec(0..30_usize, 0..50), cut in 1..100_usize) {
        let plan = plan();
        let data: Vec<Struct> = fields.iter().map(|fields| record(*fields)).collect();
        let bytes = framed(&AssessRequest { data, ..Default::default() }.encode_to_vec());
        let found = scan(&plan, &[&bytes[..], &bytes[..]].concat(), cut).unwrap();
        prop_assert_eq!(found.cells, fields.iter().sum::<usize>());
        prop_assert_eq!(found.records.values().sum::<usize>(), fields.len());
    }
}
