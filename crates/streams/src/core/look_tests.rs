//! A look at a frame: what it promises, what it refuses, and who has no say any more; and how much is done at once.

use super::*;

fn rows_at(core: &Core, times_ms: &[i64]) -> Held {
    let mut builder = BatchBuilder::new(Arc::clone(&core.spec().schema));
    for time_ms in times_ms {
        builder.push(&[Cell::Integer(*time_ms), Cell::Integer(*time_ms), Cell::Number(0.5)]).unwrap();
    }
    Held::Rows(builder.finish().unwrap())
}

#[test]
fn what_is_refused_is_looked_at_and_nothing_more() {
    let mut bench = Bench::new(spec(10, 10, 0));
    bench.core.windows = Windows::new(bench.core.spec.window, 0, Limits { panes_max: 3, windows_max: 10 });
    let (first, second, third) = (bench.origin(1), bench.origin(2), bench.origin(3));
    let core = &mut bench.core;
    let receipt = Receipt { received_us: 0, now_us: 0 };
    let frame = rows_at(core, &[1, 11]);
    let Ok(Look::Fits(looked)) = core.look(&first, &frame, 0, Room::default()) else { panic!() };
    // While the first one is on its way, its room is promised, and its number is taken.
    let full = core.look(&second, &rows_at(core, &[21, 31]), 0, looked.room).unwrap_err();
    assert_eq!((full.reason(), full.kind()), ("PANES", problem::Kind::Exhausted));
    assert!(matches!(core.look(&first, &frame, 0, looked.room), Ok(Look::Duplicate)));
    let gap = core.look(&third, &frame, 0, looked.room).unwrap_err();
    assert_eq!(gap.reason(), "SEQUENCE_GAP");
    core.stop_looking(&second);
    assert!(matches!(core.look(&second, &frame, 0, looked.room), Ok(Look::Stale)), "its client was refused");
    let untouched = core.totals();
    assert_eq!((untouched.accepted_rows, core.windows.held()), (0, (0, 0)), "nothing was taken by looking");
    assert!(
        core.take(&second, rows_at(core, &[1]), Looked::default(), receipt).is_none(),
        "one is before it"
    );
    assert!(core.take(&first, frame, *looked, receipt).is_some());
    assert_eq!(core.totals().accepted_rows, 2);
}

#[test]
fn a_client_that_was_replaced_has_no_say() {
    let mut bench = Bench::new(spec(10, 10, 0));
    let first = bench.origin(1);
    let core = &mut bench.core;
    let frame = rows_at(core, &[1]);
    let Ok(Look::Fits(looked)) = core.look(&first, &frame, 0, Room::default()) else { panic!() };
    let place = core.join_partition("p", None, 0).unwrap();
    assert_eq!((place.accepted_through, place.join), (0, 2), "what is on its way was not taken");
    assert!(core.take(&first, frame, *looked, Receipt { received_us: 0, now_us: 0 }).is_none());
    core.say_end(&first);
    assert!(core.end_partition(&first, 0).is_empty() && !core.is_over());
    assert!(core.replace_if(&first).is_none());
    let again = Origin { join: 2, ..first };
    let Ok(Look::Fits(_)) = core.look(&again, &rows_at(core, &[1]), 0, Room::default()) else { panic!() };
    core.say_end(&again);
    let ended = core.look(&Origin { seq: 2, ..again }, &rows_at(core, &[1]), 0, Room::default()).unwrap_err();
    assert_eq!(ended.reason(), "ENDED");
}

#[test]
fn windows_that_nobody_judges_in_time_are_told_in_steps() {
    let mut spec = spec(10, 10, 0);
    spec.window = WindowSpec::new(WindowKind::Tumbling { size_ms: 10 }, 0, 0, None).unwrap();
    spec.late_label = None;
    let mut bench = Bench::new(spec);
    let rows: Vec<(i64, i64)> = (0..1_000).map(|row| (row * 10 + 1, row)).collect();
    bench.rows(1, &rows, 0);
    let first = bench.core.tick(20_000, 0, |_| false);
    assert!((1..=256).contains(&first.len()) && bench.core.is_busy(), "{} at once", first.len());
    bench.take(first);
    assert_eq!(bench.reports.len(), 999, "all but the window that is open");
    let seqs: Vec<u64> = bench.reports.iter().map(|report| report.report_seq).collect();
    assert_eq!(seqs, (1..=999).collect::<Vec<_>>());
}
