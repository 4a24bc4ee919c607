//! Windows whose labels come late, or never.

use super::*;
use crate::spec::WindowKind;

const LIMITS: Limits = Limits { panes_max: 100_000, windows_max: 1_000_000 };

#[test]
fn labels_revise_their_window_until_the_horizon() {
    let kind = WindowKind::Tumbling { size_ms: 10_000 };
    let spec = WindowSpec::new(kind, 0, 0, Some(40_000)).unwrap();
    let mut windows = Windows::new(spec, 0, LIMITS);
    let none: Arc<str> = Arc::from("");
    let push = |windows: &mut Windows, times_ms: &[i64]| {
        windows
            .ingest("p", 0, Rows { times_ms, keys: None, key_names: &[], rejected: &[], awaiting: &[] })
            .unwrap()
            .steps
    };
    let both = Rows {
        times_ms: &[1_000, 2_000],
        keys: None,
        key_names: &[],
        rejected: &[],
        awaiting: &[true, true],
    };
    windows.ingest("p", 0, both).unwrap();
    let steps = push(&mut windows, &[10_000]);
    assert_eq!(steps.closes.len(), 1);
    assert!(steps.released_labels.is_empty(), "a label may still come");
    let mut opened = Steps::default();
    let pane = windows.label_pane(&none, 1_000, 0, &mut opened).unwrap();
    assert_eq!(opened.opened, vec![(pane, Arc::clone(&none), true)]);
    windows.label_settled(&none, 1_000);
    assert!(windows.advance().closes.is_empty(), "revisions wait for the interval");
    let steps = push(&mut windows, &[20_000]);
    assert_eq!(steps.closes.len(), 2, "the next window on time, the first revised");
    assert_eq!(steps.closes[1].cause, Cause::LateLabels);
    assert_eq!(steps.closes[1].label_panes, vec![pane]);
    let second = windows.label_pane(&none, 2_000, 0, &mut opened).unwrap();
    assert_ne!(second, pane, "a closed pane takes no more labels");
    windows.label_settled(&none, 2_000);
    let steps = windows.advance();
    assert_eq!(steps.closes[0].label_panes, vec![pane, second], "complete: revised at once");
    assert!(steps.released_labels.contains(&second), "and freed");
    assert_eq!(windows.label_pane(&none, 2_000, 0, &mut opened), None);
}

#[test]
fn what_was_judged_by_some_labels_is_judged_again_when_no_more_can_come() {
    let spec = WindowSpec::new(WindowKind::Tumbling { size_ms: 10_000 }, 0, 0, Some(40_000)).unwrap();
    let mut windows = Windows::new(spec, 0, LIMITS);
    let none: Arc<str> = Arc::from("");
    let rows = |times_ms: &'static [i64], awaiting: &'static [bool]| Rows {
        times_ms,
        keys: None,
        key_names: &[],
        rejected: &[],
        awaiting,
    };
    windows.ingest("p", 0, rows(&[1_000, 2_000, 3_000], &[true; 3])).unwrap();
    let pane = windows.label_pane(&none, 1_000, 0, &mut Steps::default()).unwrap();
    windows.label_settled(&none, 1_000);
    let first = windows.ingest("p", 0, rows(&[10_000], &[])).unwrap().steps.closes;
    assert_eq!((first.len(), first[0].settled, first[0].labels_awaited), (1, false, 2));
    let window = first[0].window.clone();
    let steps = windows.ingest("p", 0, rows(&[49_999], &[])).unwrap().steps;
    assert!(steps.closes.iter().all(|close| close.window != window));
    let steps = windows.ingest("p", 0, rows(&[50_000], &[])).unwrap().steps;
    let last: Vec<_> = steps.closes.iter().filter(|close| close.window == window).collect();
    assert_eq!((last.len(), last[0].cause, last[0].settled), (1, Cause::LateLabels, true));
    assert!(last[0].label_panes == [pane] && steps.released_labels.contains(&pane));
    assert_eq!(last[0].labels_awaited, 0);
}

#[test]
fn rows_that_bring_their_labels_make_a_window_worth_judging_again() {
    let spec = WindowSpec::new(WindowKind::Tumbling { size_ms: 10_000 }, 0, 0, Some(40_000)).unwrap();
    let again = |awaiting: &[bool]| {
        let mut windows = Windows::new(spec, 0, LIMITS);
        let mut push = |times_ms: &[i64], awaiting: &[bool]| {
            let rows = Rows { times_ms, keys: None, key_names: &[], rejected: &[], awaiting };
            windows.ingest("p", 0, rows).unwrap().steps.closes
        };
        push(&[1_000, 2_000], awaiting);
        push(&[10_000], &[true]);
        push(&[50_000], &[true]).iter().filter(|close| close.window.start_ms == 0).count()
    };
    assert_eq!(again(&[false, true]), 1, "one has its label, the other never gets one");
    assert_eq!(again(&[true, true]), 0, "nothing has come that could be said again");
    assert_eq!(again(&[false, false]), 0, "all was said");
}
