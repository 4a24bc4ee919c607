//! Messages of all kinds with values of all kinds, right and wrong.

use acgs_contracts::{
    common::v1::{Column, Field, RecordBatch, ReferenceSelector, Schema},
    lane::v1::{
        Close, Config, ConfigReference, LaneBatch, LaneColumn, LaneDown, Open as LaneOpen, OpenPane,
        PaneState, Release, Restore, Rows as LaneRows, Run, Tick, lane_down,
    },
    orchestrator::v1::{
        AckReports, End, Labels, Open, Rows, SlidingWindow, StreamWindowsRequest, TumblingWindow, WindowSpec,
        stream_windows_request, window_spec,
    },
};
use acgs_tests::open;
use proptest::{collection::vec, option, prelude::*, sample::select};
use prost_types::{Struct, Value, value::Kind};

pub(crate) fn text() -> BoxedStrategy<String> {
    prop_oneof![
        select(vec!["", "a", "ts", "id", "x", "r", "ks", "quality", ">"]).prop_map(str::to_owned),
        ".{0,12}"
    ]
    .boxed()
}

pub(crate) fn number() -> BoxedStrategy<f64> {
    prop_oneof![
        any::<f64>(),
        0.0..1.0_f64,
        Just(f64::NAN),
        Just(f64::INFINITY),
        (-5..5_i32).prop_map(f64::from)
    ]
    .boxed()
}

pub(crate) fn time() -> BoxedStrategy<i64> {
    prop_oneof![any::<i64>(), 0..100_000_i64, Just(i64::MIN), Just(i64::MAX)].boxed()
}

pub(crate) fn records() -> BoxedStrategy<Vec<Struct>> {
    let kind = prop_oneof![
        number().prop_map(Kind::NumberValue),
        any::<bool>().prop_map(Kind::BoolValue),
        text().prop_map(Kind::StringValue),
        Just(Kind::NullValue(0)),
        Just(Kind::StructValue(Struct::default())),
    ];
    let value = option::of(kind).prop_map(|kind| Value { kind });
    let record =
        vec((text(), value), 0..4).prop_map(|fields| Struct { fields: fields.into_iter().collect() });
    let uniform = vec(number(), 1..40).prop_map(|numbers| {
        let record =
            |number| Struct { fields: [("x".to_owned(), Value::from(number))].into_iter().collect() };
        numbers.into_iter().map(record).collect()
    });
    prop_oneof![vec(record, 0..8), uniform].boxed()
}

prop_compose! {
    fn field()(name in text(), kind in -1..7_i32, role in -1..11_i32, minimum in option::of(number()),
        maximum in option::of(number()), required in any::<bool>(), positive in text(), scale in -1..4_i32,
        class_name in text(), quantile in option::of(number()), slice in any::<bool>()) -> Field {
        Field { name, kind, role, minimum, maximum, required, positive, scale, class_name, quantile, slice }
    }
}

pub(crate) fn schemas() -> BoxedStrategy<Option<Schema>> {
    let good = Just(open("s", 1_000).schema.unwrap());
    option::of(prop_oneof![vec(field(), 0..5).prop_map(|fields| Schema { fields }), good]).boxed()
}

prop_compose! {
    fn column()(doubles in vec(number(), 0..6), integers in vec(time(), 0..6), booleans in vec(any::<u8>(), 0..2),
        codes in vec(0..9_u32, 0..6), dictionary in vec(text(), 0..3), validity in vec(any::<u8>(), 0..2),
        only in 0..5_usize) -> Column {
        let mut column = Column { doubles, integers, booleans: booleans.into(), codes, dictionary, validity: validity.into() };
        if only != 0 { column.doubles.clear(); }
        if only != 1 { column.integers.clear(); }
        if only != 2 { column.booleans.clear(); }
        if only != 3 { column.codes.clear(); column.dictionary.clear(); }
        column
    }
}

pub(crate) fn batches() -> BoxedStrategy<Option<RecordBatch>> {
    let wild =
        (0..8_u32, vec(column(), 0..6)).prop_map(|(row_count, columns)| RecordBatch { row_count, columns });
    let good = (vec(time(), 1..30), number()).prop_map(|(times, shift)| {
        acgs_vocabulary::convert::batch::to_proto(&acgs_tests::rows(0, &times, shift))
    });
    option::of(prop_oneof![wild, good]).boxed()
}

pub(crate) fn windows() -> BoxedStrategy<Option<WindowSpec>> {
    let size = || prop_oneof![time(), 1..5_000_i64];
    let kind = prop_oneof![
        size().prop_map(|size_ms| window_spec::Kind::Tumbling(TumblingWindow { size_ms })),
        (size(), size())
            .prop_map(|(size_ms, slide_ms)| window_spec::Kind::Sliding(SlidingWindow { size_ms, slide_ms })),
    ];
    let spec = (option::of(kind), time(), option::of(time()), size(), option::of(size()));
    option::of(spec.prop_map(|(kind, offset_ms, out_of_orderness_ms, lateness_ms, label_horizon_ms)| {
        WindowSpec {
            kind,
            offset_ms,
            out_of_orderness_ms,
            lateness_ms,
            label_horizon_ms,
            ..WindowSpec::default()
        }
    }))
    .boxed()
}

pub(crate) fn opens() -> BoxedStrategy<Open> {
    let wild =
        (text(), schemas(), schemas(), windows(), vec(-1..5_i32, 0..4), option::of(text()), any::<bool>());
    let wild = wild.prop_map(|(stream_id, schema, label_schema, window, judges, reference, log)| Open {
        stream_id,
        schema,
        label_schema,
        window,
        judges,
        reference: reference.map(|name| ReferenceSelector { name, version: 0 }),
        durability: if log { 2 } else { 0 },
        ..Open::default()
    });
    // Most openings are good ones, so that what follows is looked at.
    prop_oneof![1 => wild, 3 => (0..1_000_000_u32).prop_map(|number| open(&format!("n{number}"), 500))]
        .boxed()
}

pub(crate) fn stream_messages() -> BoxedStrategy<Vec<StreamWindowsRequest>> {
    use stream_windows_request::Message;
    let message = prop_oneof![
        4 => (0..6_u64, batches()).prop_map(|(seq, batch)| Message::Rows(Rows { seq, batch, ..Rows::default() })),
        2 => (0..6_u64, batches()).prop_map(|(seq, batch)| Message::Labels(Labels { seq, batch })),
        1 => any::<u64>().prop_map(|through_report_seq| Message::Ack(AckReports { through_report_seq })),
        1 => Just(Message::End(End {})),
        1 => opens().prop_map(Message::Open),
    ];
    (opens(), vec(option::of(message), 0..6))
        .prop_map(|(open, messages)| {
            let first = std::iter::once(Some(Message::Open(open)));
            first.chain(messages).map(|message| StreamWindowsRequest { message }).collect()
        })
        .boxed()
}

pub(crate) fn lane_messages() -> BoxedStrategy<Vec<LaneDown>> {
    use lane_down::Message;
    let bytes = || vec(any::<u8>(), 0..40).prop_map(bytes_of);
    let lane_column = (bytes(), 0..4_usize).prop_map(|(bytes, only)| {
        let mut column = LaneColumn::default();
        match only {
            0 => column.doubles = bytes,
            1 => column.integers = bytes,
            2 => column.booleans = bytes,
            _ => column.codes = bytes,
        }
        column
    });
    let good = vec(time(), 1..9)
        .prop_map(|times| acgs_vocabulary::convert::lane_batch::to_proto(&acgs_tests::rows(0, &times, 0.0)));
    let wild =
        (0..9_u32, vec(lane_column, 0..6)).prop_map(|(row_count, columns)| LaneBatch { row_count, columns });
    let batch = option::of(prop_oneof![good, wild]);
    let runs = vec((0..3_u64, 0..9_u32).prop_map(|(pane, length)| Run { pane, length }), 0..3);
    let state =
        (0..3_u64, bytes()).prop_map(|(pane, state)| PaneState { pane, state, ..PaneState::default() });
    let configs = vec(bytes().prop_map(|digest| ConfigReference { kind: "reference".into(), digest }), 0..2);
    let opening =
        (schemas(), configs, 0..2_u32, 0..3_u64).prop_map(|(schema, configs, slot, snapshot_every_bytes)| {
            Message::Open(LaneOpen {
                stream_id: "s".into(),
                schema,
                configs,
                slot,
                snapshot_every_bytes,
                ..LaneOpen::default()
            })
        });
    let message = prop_oneof![
        (bytes(), bytes()).prop_map(|(digest, content)| Message::Config(Config { digest, content })),
        (0..4_u64, vec(state, 0..3), bytes()).prop_map(|(through_seq, panes, carry)| {
            let more = through_seq % 2 == 0;
            Message::Restore(Restore { through_seq, panes, carry, more })
        }),
        (0..3_u64).prop_map(|pane| Message::OpenPane(OpenPane { pane, ..OpenPane::default() })),
        (0..6_u64, batch, runs).prop_map(|(seq, batch, runs)| Message::Rows(LaneRows {
            seq,
            batch,
            runs,
            again: seq % 2 == 1,
            partition: format!("p{}", seq % 3),
            retracts: seq % 5 == 0,
        })),
        time().prop_map(|watermark_ms| Message::Tick(Tick { watermark_ms, seq: 4 })),
        (option::of((time(), time())), vec(0..3_u64, 0..3)).prop_map(|(window, panes)| {
            let window = window.map(|(start_ms, end_ms)| acgs_contracts::common::v1::WindowId {
                start_ms,
                end_ms,
                ..Default::default()
            });
            Message::Close(Close { window, panes, seq: 5, ..Close::default() })
        }),
        vec(0..3_u64, 0..3).prop_map(|panes| Message::Release(Release { panes, seq: 6 })),
    ];
    (opening, vec(option::of(message), 0..8))
        .prop_map(|(opening, messages)| {
            std::iter::once(Some(opening)).chain(messages).map(|message| LaneDown { message }).collect()
        })
        .boxed()
}

pub(crate) fn bytes_of(bytes: Vec<u8>) -> prost::bytes::Bytes {
    bytes.into()
}
