//! Three clocks, and the news that one of them jumped. Certificates are judged by the wall clock,
//! back-off by the time since boot; where the two part, somebody set the clock, and where boot time
//! parts from running time, the machine slept.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

/// Slewing (NTP) and the moments between two readings stay below this.
const TOLERANCE: Duration = Duration::from_secs(2);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// One reading of all clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clocks {
    /// Wall clock. Read through std, so that tests can move it.
    pub(super) wall: SystemTime,
    /// Since boot, sleep included.
    pub(super) boot: Duration,
    /// Since the agent started, sleep not included (but on systems that have no such clock).
    pub(super) awake: Duration,
}

impl Clocks {
    pub(super) fn read() -> Self {
        Self { wall: SystemTime::now(), boot: boot_time(), awake: START.elapsed() }
    }

    /// Whole seconds since 1970, as certificates count.
    pub(super) fn seconds(&self) -> u64 {
        self.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// Whether the wall clock was set or the machine slept between two readings.
    pub(super) fn jumped_since(&self, earlier: &Self) -> bool {
        let passed = self.boot.saturating_sub(earlier.boot);
        let expected = earlier.wall.checked_add(passed).unwrap_or(earlier.wall);
        let step = match self.wall.duration_since(expected) {
            Ok(ahead) => ahead,
            Err(behind) => behind.duration(),
        };
        let slept = passed.saturating_sub(self.awake.saturating_sub(earlier.awake));
        step > TOLERANCE || slept > TOLERANCE
    }
}

/// A certificate's second as a time; what no record can hold becomes the end of time.
pub(super) fn timestamp(seconds: u64) -> Timestamp {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or(Timestamp::MAX)
}

/// A wall-clock time in whole seconds.
pub(super) fn shown(time: SystemTime) -> Timestamp {
    timestamp(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs())
}

fn boot_time() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    // This one goes on in sleep on macOS.
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

pub(super) use watch::JumpWatch;

/// Linux tells of every step of the wall clock, waking from sleep included: a timer far away that
/// is cancelled when the clock is set.
#[cfg(target_os = "linux")]
mod watch {
    use std::io::ErrorKind;
    use std::os::fd::{AsFd, BorrowedFd};

    use rustix::io::Errno;
    use rustix::time::{
        ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec,
        clock_gettime, timerfd_create, timerfd_settime,
    };
    use tokio::net::unix::pipe::Receiver;

    const FAR_AWAY: i64 = 10 * 365 * 86_400;

    /// The timer, as what tokio offers for a descriptor that is only read: a pipe's end.
    pub(in crate::agent) struct JumpWatch {
        timer: Receiver,
    }

    impl JumpWatch {
        pub(in crate::agent) fn new() -> std::io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
            arm(timer.as_fd())?;
            Ok(Self { timer: Receiver::from_owned_fd_unchecked(timer)? })
        }

        /// Returns when the wall clock was set or the machine woke up.
        pub(in crate::agent) async fn jumped(&mut self) -> std::io::Result<()> {
            loop {
                self.timer.readable().await?;
                match self.timer.try_read(&mut [0; 8]) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) if Errno::from_io_error(&error) != Some(Errno::CANCELED) => {
                        return Err(error);
                    }
                    _ => return Ok(arm(self.timer.as_fd())?),
                }
            }
        }
    }

    fn arm(timer: BorrowedFd<'_>) -> Result<(), Errno> {
        let now = clock_gettime(ClockId::Realtime).tv_sec;
        let far = Timespec { tv_sec: now.saturating_add(FAR_AWAY), tv_nsec: 0 };
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(timer, flags, &Itimerspec { it_interval: once, it_value: far })?;
        Ok(())
    }
}

/// Elsewhere nobody tells: look every half minute.
#[cfg(not(target_os = "linux"))]
mod watch {
    use std::time::Duration;

    pub(in crate::agent) struct JumpWatch;

    impl JumpWatch {
        pub(in crate::agent) fn new() -> std::io::Result<Self> {
            Ok(Self)
        }

        /// Returns when it is time to look at the clocks.
        pub(in crate::agent) async fn jumped(&mut self) -> std::io::Result<()> {
            tokio::time::sleep(Duration::from_secs(30)).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_clock_and_a_sleep_are_jumps_and_passing_time_is_not() {
        let s = Duration::from_secs;
        let then =
            Clocks { wall: SystemTime::UNIX_EPOCH + s(1_000_000), boot: s(100), awake: s(50) };
        let after = |wall: i64, boot: u64, awake: u64| Clocks {
            wall: SystemTime::UNIX_EPOCH + s(1_000_000_u64.checked_add_signed(wall).unwrap()),
            boot: then.boot + s(boot),
            awake: then.awake + s(awake),
        };
        for (now, jumped) in [
            (after(0, 0, 0), false),
            (after(3600, 3600, 3600), false),
            (after(3602, 3600, 3600), false),
            (after(28_800, 1, 1), true),
            (after(-600, 1, 1), true),
            (after(3600, 3600, 10), true),
        ] {
            assert_eq!(now.jumped_since(&then), jumped, "{now:?}");
        }
    }
}
