use super::*;
use crate::logic::mappings::settings::tests::settings;

const START: Timestamp = Timestamp(1_000_000);

fn rules() -> Rules {
    Rules {
        batch_max: 10,
        bytes_max: 1_000,
        window: Millis(0),
        visibility: Millis(60_000),
        timeout: Millis(10_000),
        fifo: false,
        reports_failures: false,
    }
}

fn poller(rules: Rules) -> Poller {
    Poller::new(rules, Limit::of(&settings()))
}

fn record(id: usize) -> Record {
    let (id, json) = (id.to_string(), "x".repeat(19));
    Record { receipt: id.clone(), id, group: None, ordered: false, trace: None, json }
}

fn records(count: usize) -> Vec<Record> {
    (0..count).map(record).collect()
}

#[track_caller]
fn invoked(poller: &mut Poller, now: Timestamp) -> Batch {
    match poller.next(now) {
        Step::Invoke(batch) => batch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_received_is_invoked_in_batches_and_then_messages_are_waited_for() {
    let mut poller = poller(rules());
    assert_eq!(poller.next(START), Step::Receive { max: 50, bytes: 986 });
    assert_eq!(poller.received(23, records(23), START), []);
    let sizes: Vec<usize> = (0..3).map(|_| invoked(&mut poller, START).records.len()).collect();
    assert_eq!(sizes, [10, 10, 3]);
    assert_eq!(poller.next(START), Step::Receive { max: 20, bytes: 986 });
    poller.received(0, Vec::new(), START);
    assert_eq!(poller.next(START), Step::Wait { messages: true, until: None });
    poller.awake();
    assert_eq!(poller.next(START), Step::Receive { max: 20, bytes: 986 });
}

#[test]
fn nothing_is_received_that_could_not_be_invoked() {
    let mut poller = poller(rules());
    poller.next(START);
    poller.received(50, records(50), START);
    (0..5).for_each(|_| drop(invoked(&mut poller, START)));
    let until = Some(START.plus_ms(200));
    assert_eq!(poller.next(START), Step::Wait { messages: false, until });
    assert_eq!(poller.next(START.plus_ms(200)), Step::Receive { max: 10, bytes: 986 });
}

#[test]
fn a_batch_is_never_larger_than_an_event_may_be() {
    let mut poller = poller(Rules { bytes_max: 14 + 3 * 20, ..rules() });
    poller.next(START);
    poller.received(5, records(5), START);
    assert_eq!(invoked(&mut poller, START).records.len(), 3);
    assert_eq!(invoked(&mut poller, START).records.len(), 2);
    // Where order counts, what does not fit goes back: the queue keeps its group locked.
    let mut ordered = self::poller(Rules { bytes_max: 14 + 3 * 20, fifo: true, ..rules() });
    assert_eq!(ordered.next(START), Step::Receive { max: 10, bytes: 60 });
    let back = ordered.received(5, records(5), START);
    assert_eq!(back.iter().map(|record| record.id.as_str()).collect::<Vec<_>>(), ["3", "4"]);
    assert_eq!(invoked(&mut ordered, START).records.len(), 3);
}

#[test]
fn a_window_gathers_until_it_ends_or_the_batch_is_full_and_keeps_messages_hidden() {
    let windowed = Rules { batch_max: 100, bytes_max: 100_000, window: Millis(50_000), ..rules() };
    let mut poller = poller(windowed);
    poller.next(START);
    poller.received(2, records(2), START);
    assert!(matches!(poller.next(START), Step::Receive { max: 98, .. }));
    poller.received(0, Vec::new(), START);
    let until = Some(START.plus_ms(30_000));
    assert_eq!(poller.next(START), Step::Wait { messages: true, until });
    let half = START.plus_ms(30_000);
    assert_eq!(poller.next(half), Step::Hide(vec!["0".to_owned(), "1".to_owned()]));
    let end = START.plus_ms(50_000);
    assert_eq!(poller.next(half), Step::Wait { messages: true, until: Some(end) });
    // The function is to have the whole visibility timeout.
    assert!(matches!(poller.next(end), Step::Hide(_)));
    assert_eq!(invoked(&mut poller, end).records.len(), 2);
    poller.awake();
    poller.next(end);
    poller.received(100, records(100), end);
    assert_eq!(invoked(&mut poller, end).records.len(), 100);
}

#[test]
fn what_became_visible_while_it_waited_is_not_invoked() {
    let windowed = Rules { batch_max: 100, bytes_max: 100_000, window: Millis(90_000), ..rules() };
    let mut poller = poller(windowed);
    poller.next(START);
    poller.received(2, records(2), START);
    let later = START.plus_ms(60_000);
    assert!(matches!(poller.next(later), Step::Abandon(batch) if batch.records.len() == 2));
    assert!(matches!(poller.next(later), Step::Receive { .. }));
}

#[test]
fn refused_batches_are_tried_again_while_they_are_hidden_and_then_abandoned() {
    let (mut poller, waits) = (poller(rules()), Waits::default());
    poller.next(START);
    poller.received(1, records(1), START);
    let (mut now, mut tries) = (START, 0);
    loop {
        match poller.next(now) {
            Step::Invoke(batch) => {
                tries += 1;
                poller.finished(Ended::Refused(batch), &waits, now);
            }
            Step::Wait { messages, until } => {
                assert!(!messages, "nothing is received while there is no place");
                assert!(until.unwrap() > now);
                now = until.unwrap();
            }
            Step::Abandon(batch) => break assert_eq!(batch.records.len(), 1),
            other => panic!("{other:?}"),
        }
    }
    // At 0, 1, 3, 7, 15 and 31 s; at 50 s the function could not end before the messages are visible.
    assert_eq!((tries, now), (6, START.plus_ms(50_000)));
    let later = now.plus_ms(13_000);
    assert!(matches!(poller.next(later), Step::Receive { max: 10, .. }));
}

#[test]
fn errors_of_the_queue_are_waited_out() {
    let (mut poller, waits) = (poller(rules()), Waits::default());
    poller.next(START);
    poller.not_received(&waits, START);
    assert_eq!(poller.next(START), Step::Wait { messages: false, until: Some(START.plus_ms(1_000)) });
    poller.next(START.plus_ms(1_000));
    poller.not_received(&waits, START.plus_ms(1_000));
    assert!(matches!(poller.next(START.plus_ms(2_000)), Step::Wait { .. }));
    assert!(matches!(poller.next(START.plus_ms(3_000)), Step::Receive { .. }));
}

#[test]
fn what_is_not_being_worked_on_is_given_up_whole() {
    let mut poller = poller(rules());
    poller.next(START);
    poller.received(25, records(25), START);
    invoked(&mut poller, START);
    assert_eq!((poller.running(), poller.give_up().len()), (1, 15));
}
