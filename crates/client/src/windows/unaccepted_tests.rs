//! A server that forgets answers, connections, or everything: it ends up with each frame once, in order.

use acgs_contracts::{common::v1::RecordBatch, orchestrator::v1::Rows};
use proptest::prelude::*;

use super::*;

fn frame(row_count: u32) -> Say {
    Say::Rows(Rows { batch: Some(RecordBatch { row_count, ..RecordBatch::default() }), ..Rows::default() })
}

fn read(message: &Say) -> (u64, u32) {
    match message {
        Say::Rows(rows) => (rows.seq, rows.batch.as_ref().unwrap().row_count),
        other => panic!("{other:?}"),
    }
}

/// Takes what has the next number, as a server does.
#[derive(Default)]
struct Server {
    accepted_through: u64,
    got: Vec<u32>,
}

impl Server {
    fn take(&mut self, message: &Say) {
        let (seq, row) = read(message);
        assert!(seq <= self.accepted_through + 1, "a gap before {seq}");
        if seq == self.accepted_through + 1 {
            self.accepted_through = seq;
            self.got.push(row);
        }
    }
}

proptest! {
    #[test]
    fn each_frame_arrives_once_and_in_order(steps in prop::collection::vec(0_u8..12, 0..200)) {
        let mut client = Unaccepted::new(true);
        let mut server = Server::default();
        client.reopen(0, 1_000, "");
        let mut on_their_way: VecDeque<Say> = VecDeque::new();
        let (mut number, mut credit_bytes) = (0, 0);
        for step in steps {
            match step {
                0..3 => {
                    number += 1;
                    client.add(frame(number), 10, u64::from(number));
                }
                3..6 => on_their_way.extend(client.next()),
                6..9 => if let Some(message) = on_their_way.pop_front() {
                    server.take(&message);
                    credit_bytes += 10;
                },
                9 | 10 => client.accept(server.accepted_through, std::mem::take(&mut credit_bytes)),
                _ => {
                    on_their_way.clear();
                    credit_bytes = 0;
                    prop_assert_eq!(client.life(server.accepted_through, ""), Life::Same);
                    client.reopen(server.accepted_through, 1_000, "");
                }
            }
        }
        on_their_way.extend(std::iter::from_fn(|| client.next()));
        on_their_way.iter().for_each(|message| server.take(message));
        prop_assert_eq!(&server.got, &(1..=number).collect::<Vec<_>>());
        credit_bytes += 10 * on_their_way.len() as u64;
        client.accept(server.accepted_through, credit_bytes);
        prop_assert_eq!((client.frames(), client.weight(), client.credit_bytes()), (0, 0, 1_000));
        prop_assert!(!client.has_unsent());
    }
}

#[test]
fn in_a_new_life_what_was_not_accepted_gets_new_numbers() {
    let mut client = Unaccepted::new(true);
    client.reopen(0, 100, "");
    (1..=5).for_each(|number| client.add(frame(number), 10, u64::from(number)));
    (1..=4).for_each(|number| assert_eq!(read(&client.next().unwrap()), (number, number as u32)));
    client.accept(3, 30);
    assert_eq!((client.frames(), client.weight()), (2, 9));
    assert_eq!(client.life(0, ""), Life::New);
    client.reopen(0, 100, "");
    assert_eq!(client.credit_bytes(), 80);
    client.add(frame(6), 10, 6);
    let again: Vec<_> = std::iter::from_fn(|| client.next()).map(|message| read(&message)).collect();
    assert_eq!(again, [(1, 4), (2, 5), (3, 6)]);
}

#[test]
fn what_another_sent_is_not_taken_for_ours() {
    let mut client = Unaccepted::new(true);
    (1..=3).for_each(|number| client.add(frame(number), 10, u64::from(number)));
    assert_eq!(client.life(5, ""), Life::Same, "the first opening says where numbers begin");
    client.reopen(5, 100, "");
    assert_eq!(client.frames(), 3, "nothing was sent before, so nothing was accepted");
    assert_eq!(read(&client.next().unwrap()), (6, 1));
    assert_eq!(
        (client.life(6, ""), client.life(7, ""), client.life(4, "")),
        (Life::Same, Life::New, Life::New)
    );
    client.reopen(8, 100, "");
    let again: Vec<_> = std::iter::from_fn(|| client.next()).map(|message| read(&message)).collect();
    assert_eq!(again, [(9, 1), (10, 2), (11, 3)]);
    assert_eq!(client.replace_first(|_| Vec::new()), 1);
    client.reopen(8, 100, "");
    assert_eq!(read(&client.next().unwrap()), (9, 2));
}

#[test]
fn one_that_keeps_nothing_counts_all_the_same() {
    let mut client = Unaccepted::new(false);
    client.reopen(7, 100, "");
    client.add(frame(1), 10, 1);
    assert_eq!(read(&client.next().unwrap()), (8, 1));
    assert_eq!((client.frames(), client.weight(), client.next()), (1, 1, None));
    client.accept(8, 10);
    assert_eq!((client.frames(), client.credit_bytes()), (0, 100));
}

#[test]
fn a_frame_that_is_cut_gives_up_what_is_left_out() {
    let mut client = Unaccepted::new(true);
    client.reopen(0, 100, "");
    (1..=2).for_each(|number| client.add(frame(number), 10, 5));
    client.next();
    assert_eq!(client.replace_first(|_| vec![(frame(10), 4, 2), (frame(11), 4, 1)]), 2);
    client.reopen(0, 100, "");
    let again: Vec<_> = std::iter::from_fn(|| client.next()).map(|message| read(&message)).collect();
    assert_eq!(again, [(1, 10), (2, 11), (3, 2)]);
    client.accept(2, 8);
    assert_eq!((client.weight(), client.accepted_weight()), (5, 3));
}

#[test]
fn who_comes_back_to_a_partition_that_another_had_sends_all_again() {
    let mut client = Unaccepted::new(true);
    client.reopen(0, 100, "a-1");
    (1..=5).for_each(|number| client.add(frame(number), 10, 1));
    (1..=5).for_each(|_| assert!(client.next().is_some()));
    assert_eq!(client.life(4, "a-1"), Life::Same);
    // Three of ours were accepted before another client sent two more.
    assert_eq!(client.life(5, "a-3"), Life::New, "the number alone would say that all five are in");
    client.reopen(5, 100, "a-3");
    let again: Vec<_> = std::iter::from_fn(|| client.next()).map(|message| read(&message)).collect();
    assert_eq!(again, [(6, 1), (7, 2), (8, 3), (9, 4), (10, 5)]);
}
