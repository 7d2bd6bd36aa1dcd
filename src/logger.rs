//! A logger that writes to standard error, for programs that have no logger of their own.
//!
//! The library writes crash reports and the messages of supervisors to the crate [`log`](https://docs.rs/log);
//! without a logger a crash is one line without details. A program that uses another logger needs neither [`init`] nor the
//! feature `env_logger`, which is on by default.
//!
//! ```
//! rethread::logger::init(); // once, at the start of `main`
//! ```
//!
//! | level | records |
//! | --- | --- |
//! | error | crashes, unexpected exits of children, failed starts and restarts, supervisors and applications that give up, new zombies, panics in destructors |
//! | warn | unexpected messages, the begin and end of the [outage](crate::outages) of a child, zombies that ended, processes that an application had to kill, invalid settings in the environment |
//! | info | children that a supervisor starts from its spec or restarts, the start and the normal end of applications |
//! | debug | children that are started by a request, further failures during an outage, every other exit |
//!
//! The environment variable `RUST_LOG` selects the level, by default `warn`. `RUST_LOG=rethread=info` shows
//! only records of this library. `RUST_BACKTRACE=1` adds a backtrace to the report of a panic.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use env_logger::{Builder, Env};

/// Prints the log of the library on stderr: warnings and errors, or the levels that the environment variable
/// `RUST_LOG` enables. `RUST_LOG=info` also shows restarts and the start of children that a `SupervisorSpec` lists,
/// `RUST_LOG=debug` the start of every other child and every exit that is not a crash. Does nothing if the program
/// has a logger already. Needs the feature `env_logger`, which is on by default; a program with its own logger needs
/// neither.
///
/// Each record begins with the time in UTC: `[2026-11-30T19:06:34.123Z ERROR target] message`.
///
/// ```
/// rethread::logger::init();
/// ```
pub fn init() {
    // An error means that a logger is installed already, which is fine.
    let _ = Builder::from_env(Env::default().default_filter_or("warn"))
        .format(|out, record| {
            let time = format_utc(SystemTime::now());
            writeln!(out, "[{time} {:<5} {}] {}", record.level(), record.target(), record.args())
        })
        .try_init();
}

/// Formats a time in UTC by RFC 3339, with milliseconds. A time before 1970 is shown as the start of that year.
fn format_utc(time: SystemTime) -> String {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since_epoch.as_secs() / 86_400, since_epoch.as_secs() % 86_400);
    // The date from the number of days since 1970-01-01, by `civil_from_days` of Howard Hinnant's "chrono-Compatible
    // Low-Level Date Algorithms": years begin in March, so that a leap day is the last day of a year, and 400 years (an
    // era) have 146,097 days.
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let millis = since_epoch.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_is_formatted_as_in_rfc_3339() {
        // Seconds from `date --utc --date=.. +%s`.
        let expected = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (1_735_689_599_001, "2024-12-31T23:59:59.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (millis, text) in expected {
            assert_eq!(format_utc(UNIX_EPOCH + Duration::from_millis(millis)), text);
        }
        assert_eq!(format_utc(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    }
}
