//! Timers, and receiving with a timeout. Scenarios TM-01 to TM-16.

use std::time::{Duration, Instant};

use crate::support::scripted_process::ScriptedProcess;
use crate::support::{Journal, attached, down, eventually, message, sleeper, unique, watchdog};
use rethread::ExitReason;
use rethread::process::{
    self, Address, Builder, Event, Inbox, Name, cancel_timer, read_timer, send_after, send_at,
};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

// scenario: TM-01
#[test]
fn a_timer_fires_once_and_not_early() {
    attached(|inbox: &mut Inbox<&'static str>| {
        let began = Instant::now();
        let timer = send_after(ms(300), inbox.address(), "time");
        assert!(read_timer(timer).is_some());
        assert_eq!(message(inbox), "time");
        let took = began.elapsed();
        assert!(took >= ms(300), "early: {took:?}");
        assert_eq!((read_timer(timer), cancel_timer(timer)), (None, None));
        assert_eq!(inbox.recv_timeout(ms(50)), None);
    });
}

// scenario: TM-02
#[test]
fn cancel_returns_the_time_left_once() {
    attached(|inbox: &mut Inbox<()>| {
        let began = Instant::now();
        let timer = send_after(ms(1000), inbox.address(), ());
        let left = cancel_timer(timer).unwrap();
        assert!(left <= ms(1000) && left + began.elapsed() >= ms(1000), "{left:?}");
        assert_eq!(cancel_timer(timer), None);
        assert_eq!(read_timer(timer), None);
        assert_eq!(inbox.recv_timeout(ms(1100)), None);
    });
}

// scenario: TM-04
#[test]
fn a_very_long_timer_can_be_read() {
    attached(|inbox: &mut Inbox<()>| {
        let long = ms(1 << 31);
        let timer = send_after(long, inbox.address(), ());
        process::sleep(ms(200));
        let read = read_timer(timer).unwrap();
        let cancelled = cancel_timer(timer).unwrap();
        assert_eq!(read_timer(timer), None);
        assert!(long - read >= ms(200), "{read:?}");
        assert!(read >= cancelled && read - cancelled < ms(2000), "{read:?} {cancelled:?}");
    });
}

// scenario: TM-05
#[test]
fn there_is_no_bad_time() {
    attached(|inbox: &mut Inbox<()>| {
        // A negative or fractional time cannot be written; the longest one does not overflow.
        let timer = send_after(Duration::MAX, inbox.address(), ());
        let years = read_timer(timer).unwrap().as_secs() / (365 * 24 * 3600);
        assert!((29..=30).contains(&years), "{years}");
        assert_eq!(inbox.recv_timeout(ms(20)), None);
        assert!(cancel_timer(timer).is_some());
        assert_eq!(inbox.recv_timeout(Duration::ZERO), None);
        let _ = send_after(Duration::ZERO, inbox.address(), ());
        assert_eq!(inbox.recv_timeout(Duration::MAX), Some(Event::Message(())));
    });
}

// scenario: TM-06
#[test]
fn a_timer_that_is_over_or_never_was_cannot_be_cancelled() {
    attached(|inbox: &mut Inbox<()>| {
        let exited = sleeper();
        let monitor = process::monitor(&exited);
        process::exit(&exited, ExitReason::Kill);
        assert_eq!(down(inbox).0, monitor);
        let never = send_after(ms(60_000), &exited, ());
        assert_eq!((read_timer(never), cancel_timer(never)), (None, None));
        let fired = send_after(Duration::ZERO, inbox.address(), ());
        message(inbox);
        assert_eq!((read_timer(fired), cancel_timer(fired)), (None, None));
    });
}

// scenario: TM-08
#[test]
fn a_timer_outlives_the_process_that_started_it() {
    attached(|inbox: &mut Inbox<&'static str>| {
        let to = inbox.address();
        let (starter, monitor) = process::spawn_monitor(move || {
            let _ = send_after(ms(100), &to, "after the exit");
        })
        .unwrap();
        assert_eq!(down(inbox), (monitor, ExitReason::Normal));
        assert!(!process::is_alive(starter));
        assert_eq!(message(inbox), "after the exit");
    });
}

// scenario: TM-09
#[test]
fn a_name_is_looked_up_when_the_timer_fires() {
    attached(|inbox: &mut Inbox<&'static str>| {
        let text = unique("tm_09");
        let (name, base) = (Name::new(text), Instant::now());
        let _ = send_at(base + ms(1000), name, "for the holder");
        let _ = send_at(base + ms(10), name, "unclaimed");
        let _ = send_at(base + ms(10), Name::<u32>::new(text), 7); // nor for another process of that type
        let _ = send_at(base + ms(11), inbox.address(), "the other timers were due before");
        assert_eq!(message(inbox), "the other timers were due before");
        process::register(text, inbox.pid()).unwrap();
        assert_eq!(message(inbox), "for the holder");
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn a_name_that_has_moved_takes_the_timer_along() {
    attached(|inbox: &mut Inbox<()>| {
        let text = unique("moved");
        let first = Builder::new().name(text).spawn_receiver::<()>(|inbox| {
            inbox.recv();
        });
        let first = first.unwrap();
        let timer = send_after(ms(1000), Name::<()>::new(text), ());
        let monitor = process::monitor(&first);
        process::exit(&first, ExitReason::Kill);
        assert_eq!(down(inbox), (monitor, ExitReason::Killed));
        assert!(read_timer(timer).is_some(), "its target is the name, not the process");
        process::register(text, inbox.pid()).unwrap();
        message(inbox);
    });
}

// scenario: TM-12
#[test]
fn absolute_times() {
    attached(|inbox: &mut Inbox<u32>| {
        let to = inbox.address();
        let now = Instant::now();
        let past = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
        let _ = send_at(past, &to, 1);
        assert_eq!(message(inbox), 1);
        let soon = Instant::now() + ms(500);
        let timer = send_at(soon, &to, 2);
        assert!(read_timer(timer).is_some_and(|left| left <= ms(500)));
        assert_eq!(message(inbox), 2);
        assert!(Instant::now() >= soon);
    });
}

// scenario: TM-14
#[test]
fn another_process_can_cancel_my_timer() {
    attached(|inbox: &mut Inbox<()>| {
        let unrelated = ScriptedProcess::new();
        let began = Instant::now();
        let timer = send_after(ms(1000), inbox.address(), ());
        let left = unrelated.run(move || cancel_timer(timer)).unwrap();
        assert!(left <= ms(1000) && left + began.elapsed() >= ms(1000), "{left:?}");
        assert_eq!(cancel_timer(timer), None);
        assert_eq!(inbox.recv_timeout(ms(1100)), None);
    });
}

// scenario: TM-16
#[test]
fn unrelated_messages_do_not_restart_the_timeout() {
    attached(|inbox: &mut Inbox<u32>| {
        // On a busy machine the timer thread may be late; then the wait has proved nothing, and is tried
        // again.
        for _ in 0..50 {
            let (to, base) = (inbox.address(), Instant::now());
            let timers: Vec<_> = (1..=8).map(|n| send_at(base + ms(40) * n, &to, n)).collect();
            let began = Instant::now();
            assert_eq!(inbox.recv_where_timeout(ms(100), |event| *event == Event::Message(0)), None);
            let (took, came) = (began.elapsed(), inbox.len());
            for timer in timers {
                cancel_timer(timer);
            }
            assert!(took >= ms(100), "{took:?}");
            let mut queued = Vec::new();
            while let Some(event) = inbox.recv_timeout(ms(20)) {
                queued.push(event);
            }
            let in_order: Vec<_> = (1..=8).map(Event::Message).take(queued.len()).collect();
            assert_eq!(queued, in_order);
            if came >= 2 && took < ms(200) {
                return;
            }
        }
        panic!("it never ended in time with messages around");
    });
}

#[test]
fn a_timeout_of_zero_looks_at_what_is_there() {
    attached(|inbox: &mut Inbox<u32>| {
        assert_eq!(inbox.recv_timeout(Duration::ZERO), None);
        inbox.address().send(1);
        inbox.address().send(2);
        assert_eq!(inbox.recv_where_timeout(Duration::ZERO, |event| *event == Event::Message(3)), None);
        assert_eq!(
            inbox.recv_where_timeout(Duration::ZERO, |event| *event == Event::Message(2)),
            Some(Event::Message(2))
        );
        assert_eq!(inbox.recv_timeout(Duration::ZERO), Some(Event::Message(1)));
        assert_eq!(inbox.recv_timeout(Duration::ZERO), None);
    });
}

#[test]
fn a_timeout_is_never_early() {
    attached(|inbox: &mut Inbox<()>| {
        for count in [1, 5, 20] {
            let began = Instant::now();
            assert_eq!(inbox.recv_timeout(ms(count)), None);
            assert!(began.elapsed() >= ms(count));
            let began = Instant::now();
            process::sleep(ms(count));
            assert!(began.elapsed() >= ms(count));
        }
    });
}

#[test]
fn timers_fire_in_the_order_of_their_times() {
    attached(|inbox: &mut Inbox<u32>| {
        // Whether all were set before the first was due depends on the machine; if not, try again.
        for _ in 0..50 {
            let (to, base) = (inbox.address(), Instant::now() + ms(200));
            for n in [5, 1, 4, 2, 3] {
                let _ = send_at(base + ms(5) * n, &to, n);
            }
            let in_time = Instant::now() < base;
            let fired = [(); 5].map(|()| message(inbox));
            if in_time {
                assert_eq!(fired, [1, 2, 3, 4, 5]);
                return;
            }
        }
        panic!("the timers were never set in time");
    });
}

#[test]
fn many_timers_all_fire_once() {
    attached(|inbox: &mut Inbox<usize>| {
        let to = inbox.address();
        for n in 0..2000 {
            let _ = send_after(ms((n as u64 * 7) % 50), &to, n);
        }
        let mut seen = vec![0; 2000];
        for _ in 0..2000 {
            seen[message(inbox)] += 1;
        }
        assert_eq!(seen, vec![1; 2000]);
        assert_eq!(inbox.recv_timeout(ms(60)), None);
    });
}

#[test]
fn timer_is_cancelled_when_its_target_exits() {
    /// Notes when a message is dropped.
    struct Parcel(Journal);
    impl Drop for Parcel {
        fn drop(&mut self) {
            self.0.note("dropped");
        }
    }
    attached(|inbox: &mut Inbox<()>| {
        let journal = Journal::new();
        let target: Address<Parcel> = process::spawn_receiver(|inbox| {
            inbox.recv();
        })
        .unwrap();
        let monitor = process::monitor(&target);
        let timer = send_after(Duration::from_secs(3600), &target, Parcel(journal.clone()));
        assert!(read_timer(timer).is_some());
        process::exit(&target, ExitReason::Kill);
        assert_eq!(down(inbox), (monitor, ExitReason::Killed));
        assert_eq!((read_timer(timer), cancel_timer(timer)), (None, None));
        assert_eq!(journal.all(), ["dropped"], "the message is not kept for an hour");
    });
}

#[test]
fn a_message_that_panics_when_it_is_dropped_does_not_stop_the_clock() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a timed message explodes");
        }
    }
    attached(|inbox: &mut Inbox<()>| {
        let (mine, unregistered) = (inbox.address(), Name::<Bomb>::new(unique("unregistered")));
        let cancelled = send_after(ms(60_000), unregistered, Bomb);
        assert!(cancel_timer(cancelled).is_some());
        let fired = send_after(ms(1), unregistered, Bomb);
        eventually("it fired", || read_timer(fired).is_none());
        let _ = send_after(ms(5), &mine, ());
        message(inbox);
    });
}

#[test]
fn a_foreign_thread_can_use_timers() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let notes = journal.clone();
    let target = process::spawn_receiver::<&'static str>(move |inbox| {
        loop {
            notes.note(message(inbox));
        }
    })
    .unwrap();
    let cancelled = send_after(ms(60_000), &target, "never");
    let _ = send_after(ms(5), &target, "now");
    assert!(cancel_timer(cancelled).is_some());
    assert_eq!(journal.wait_for(1), ["now"]);
    process::exit(&target, ExitReason::Kill);
}
