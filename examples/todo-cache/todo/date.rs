//! The date of an entry: a validated calendar date, written `YYYY-MM-DD`. Every date from outside (a command
//! line, a request, a row on disk) is parsed here.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use jiff::civil;

/// A day of the Gregorian calendar, of the years 0000 to 9999.
///
/// It is read and written only as ISO `YYYY-MM-DD`, so that each date has one text form wherever it is stored
/// or compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Date(civil::Date);

/// Why a text is not a [`Date`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DateError {
    /// It is not four digits, two digits and two digits with `-` between them.
    Format,
    /// It has the format, but the calendar has no such day.
    NoSuchDay {
        /// The requested year.
        year: i16,
        /// The requested month.
        month: i8,
        /// The requested day.
        day: i8,
    },
}

impl Date {
    /// Returns the date with this year, month and day of the month.
    ///
    /// # Errors
    ///
    /// [`DateError::NoSuchDay`], also for years that do not have four digits.
    pub(crate) fn new(year: i16, month: i8, day: i8) -> Result<Self, DateError> {
        let absent = DateError::NoSuchDay { year, month, day };
        if !(0..=9999).contains(&year) {
            return Err(absent);
        }
        civil::Date::new(year, month, day).map(Date).map_err(|_| absent)
    }
}

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        // jiff accepts several formats (20261122, 2026-11-22T09:00), so the format is checked here.
        let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text.as_bytes() else {
            return Err(DateError::Format);
        };
        let digit = |byte: u8| if byte.is_ascii_digit() { Ok(byte - b'0') } else { Err(DateError::Format) };
        let pair = |tens: u8, ones: u8| Ok(digit(tens)? * 10 + digit(ones)?);
        let year = i16::from(pair(y1, y2)?) * 100 + i16::from(pair(y3, y4)?);
        let [month, day] = [pair(m1, m2)?, pair(d1, d2)?].map(|number| number as i8); // at most 99
        Date::new(year, month, day)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), self.0.month(), self.0.day())
    }
}

impl fmt::Display for DateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DateError::Format => f.write_str("expected a date as YYYY-MM-DD, such as 2026-11-22"),
            DateError::NoSuchDay { year, month, day } => {
                write!(
                    f,
                    "expected a day of the calendar as YYYY-MM-DD: there is no {year:04}-{month:02}-{day:02}"
                )
            }
        }
    }
}

impl Error for DateError {}
