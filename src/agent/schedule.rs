//! When an environment's certificate is renewed: pure decisions on clocks that are handed in.

use std::time::{Duration, SystemTime};

use super::clock::Clocks;
use crate::signer::Retry;

/// The longest pause after the first ten failures, and after more.
const BACK_OFF: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(300)];
/// The pause after a failure that somebody has to mend.
const FINAL_PAUSE: Duration = Duration::from_secs(300);
/// After a sleep, machines that woke together spread their first calls over this.
const WAKE_SPREAD: Duration = Duration::from_secs(60);

/// What is known of one environment's renewals.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Keys were dropped: nothing happens until somebody asks.
    pub(super) paused: bool,
    /// Somebody asked: at once, whatever the back-off.
    pub(super) wanted: bool,
    /// One renewal at a time.
    pub(super) in_flight: bool,
    /// Since the last success.
    pub(super) failures: u32,
    /// No attempt before this, on the boot clock.
    pub(super) not_before: Option<Duration>,
}

/// What the certificate in hand is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    /// There is none, or not one that may be used now.
    Nothing,
    /// Valid, and to be renewed at this time.
    Valid {
        /// On the wall clock.
        due: SystemTime,
        /// First second in which it is not valid any more.
        until: SystemTime,
    },
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Next {
    /// Start a renewal.
    Now,
    /// Look again after this.
    In(Duration),
    /// Somebody will say when there is news.
    Nothing,
}

impl Schedule {
    pub(super) fn next(&self, worth: Worth, now: &Clocks) -> Next {
        if self.in_flight {
            return Next::Nothing;
        }
        if self.wanted {
            return Next::Now;
        }
        if self.paused {
            return Next::Nothing;
        }
        let due_in = match worth {
            Worth::Nothing => Duration::ZERO,
            Worth::Valid { due, .. } => due.duration_since(now.wall).unwrap_or_default(),
        };
        let held_for = self.not_before.unwrap_or_default().saturating_sub(now.boot);
        match due_in.max(held_for) {
            Duration::ZERO => Next::Now,
            wait => Next::In(wait),
        }
    }

    pub(super) fn started(&mut self) {
        self.in_flight = true;
        self.wanted = false;
        self.paused = false;
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self { wanted: self.wanted, ..Self::default() };
    }

    /// `chance` is uniform in 0 .. 1.
    pub(super) fn failed(&mut self, retry: Retry, now: &Clocks, chance: f64) {
        self.in_flight = false;
        self.failures = self.failures.saturating_add(1);
        let pause = match retry {
            Retry::Soon => back_off(self.failures).mul_f64(chance),
            Retry::After(pause) => pause.max(back_off(self.failures).mul_f64(chance)),
            Retry::Final => FINAL_PAUSE,
        };
        self.not_before = now.boot.checked_add(pause);
    }

    /// The clock was set or the machine slept: whatever was in the way may be gone, so one attempt
    /// is free. With a valid certificate in hand it waits a random moment, so that a fleet that
    /// wakes together does not call together.
    pub(super) fn jumped(&mut self, worth: Worth, now: &Clocks, chance: f64) {
        self.failures = 0;
        self.not_before = match worth {
            Worth::Nothing => None,
            Worth::Valid { until, .. } => {
                let left = until.duration_since(now.wall).unwrap_or_default();
                now.boot.checked_add(WAKE_SPREAD.min(left / 2).mul_f64(chance))
            }
        };
    }
}

/// Full jitter picks from 0 to this: 1 s, doubled by each failure, up to a bound.
fn back_off(failures: u32) -> Duration {
    let [soon, late] = BACK_OFF;
    let bound = if failures <= 10 { soon } else { late };
    let doubled = 1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
    Duration::from_secs(doubled).min(bound)
}

/// When a new certificate is to be renewed: when a third of the lifetime is left, and by chance
/// (uniform in 0 .. 1) up to a tenth of it earlier; or a fixed time after issue.
pub(super) fn due(
    issued: SystemTime,
    valid_before: SystemTime,
    lifetime: Duration,
    renew_at: Option<Duration>,
    chance: f64,
) -> SystemTime {
    let due = match renew_at {
        Some(after) => issued.checked_add(after),
        None => valid_before.checked_sub(lifetime / 3 + (lifetime / 10).mul_f64(chance)),
    };
    due.unwrap_or(issued)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn at(wall: u64, boot: u64) -> Clocks {
        Clocks { wall: SystemTime::UNIX_EPOCH + S(wall), boot: S(boot), awake: S(boot) }
    }

    fn valid(due: u64, until: u64) -> Worth {
        let time = |seconds| SystemTime::UNIX_EPOCH + S(seconds);
        Worth::Valid { due: time(due), until: time(until) }
    }

    #[test]
    fn the_next_step_follows_from_state_and_clocks() {
        let idle = Schedule::default();
        let held = Schedule { not_before: Some(S(70)), failures: 3, ..idle.clone() };
        let paused = Schedule { paused: true, ..idle.clone() };
        for (schedule, worth, next) in [
            (idle.clone(), Worth::Nothing, Next::Now),
            (idle.clone(), valid(1000, 2000), Next::Now),
            (idle.clone(), valid(1600, 2000), Next::In(S(600))),
            (held.clone(), Worth::Nothing, Next::In(S(20))),
            (held.clone(), valid(1600, 2000), Next::In(S(600))),
            (Schedule { wanted: true, ..held.clone() }, Worth::Nothing, Next::Now),
            (Schedule { in_flight: true, ..idle.clone() }, Worth::Nothing, Next::Nothing),
            (Schedule { in_flight: true, wanted: true, ..idle }, Worth::Nothing, Next::Nothing),
            (paused.clone(), Worth::Nothing, Next::Nothing),
            (Schedule { wanted: true, ..paused }, Worth::Nothing, Next::Now),
        ] {
            assert_eq!(schedule.next(worth, &at(1000, 50)), next, "{schedule:?} {worth:?}");
        }
    }

    #[test]
    fn back_off_doubles_up_to_a_minute_and_later_to_five() {
        for (failures, seconds) in
            [(1, 1), (2, 2), (6, 32), (7, 60), (10, 60), (11, 300), (99, 300)]
        {
            assert_eq!(back_off(failures), S(seconds), "after {failures}");
        }
        let mut schedule = Schedule { in_flight: true, ..Schedule::default() };
        schedule.failed(Retry::Soon, &at(0, 100), 0.5);
        assert_eq!(schedule.not_before, Some(Duration::from_millis(100_500)));
        schedule.failed(Retry::After(S(40)), &at(0, 100), 0.5);
        assert_eq!(schedule.not_before, Some(S(140)));
        schedule.failed(Retry::Final, &at(0, 100), 0.0);
        assert_eq!(schedule.not_before, Some(S(400)));
        schedule.succeeded();
        assert_eq!(schedule, Schedule::default());
    }

    #[test]
    fn a_jump_frees_one_attempt_at_once_or_spread_when_nothing_presses() {
        let mut schedule =
            Schedule { failures: 8, not_before: Some(S(999)), ..Schedule::default() };
        schedule.jumped(Worth::Nothing, &at(0, 100), 0.5);
        assert_eq!((schedule.not_before, schedule.failures), (None, 0));
        schedule.jumped(valid(0, 1000), &at(0, 100), 0.5);
        assert_eq!(schedule.not_before, Some(S(130)));
        schedule.jumped(valid(0, 20), &at(0, 100), 0.5);
        assert_eq!(schedule.not_before, Some(S(105)));
    }

    #[test]
    fn certificates_are_due_with_a_third_left_or_when_told() {
        let start = SystemTime::UNIX_EPOCH + S(10_000);
        for (renew_at, chance, after) in
            [(None, 0.0, 2400), (None, 1.0, 2040), (Some(S(2)), 0.5, 2)]
        {
            let due = due(start, start + S(3600), S(3600), renew_at, chance);
            assert_eq!(due, start + S(after));
        }
    }
}
