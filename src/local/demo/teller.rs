//! Prints the story: a line a beat, with the seconds since the start. The one place that writes to stdout.

use std::io::Write;
use std::time::Instant;

use super::error::Error;
use super::story::{Line, Tone};

/// See the module.
pub struct Teller {
    out: Box<dyn Write + Send>,
    started: Instant,
    colour: bool,
}

impl Teller {
    /// The clock of the story starts now.
    pub fn new(out: Box<dyn Write + Send>, colour: bool) -> Self {
        Self { out, started: Instant::now(), colour }
    }

    /// A beat.
    ///
    /// # Errors
    /// Nobody can be told.
    pub fn line(&mut self, line: &Line) -> Result<(), Error> {
        let seconds = self.started.elapsed().as_secs_f64();
        let code = match line.tone {
            Tone::Plain => "",
            Tone::Bad => "31",
            Tone::Act => "36",
            Tone::Good => "32",
        };
        let (on, off) = match self.colour && !code.is_empty() {
            true => (format!("\x1b[{code}m"), "\x1b[0m"),
            false => (String::new(), ""),
        };
        self.write(&format!("{seconds:>6.1} s  {on}{:<10} {}{off}\n", line.tag, line.text))
    }

    /// A beat of the setting.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub fn plain(&mut self, tag: &'static str, text: String) -> Result<(), Error> {
        self.line(&Line { tag, text, tone: Tone::Plain })
    }

    /// Text of one or more lines, under what was told last.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub fn text(&mut self, text: &str) -> Result<(), Error> {
        text.lines().try_for_each(|line| match line {
            "" => self.write("\n"),
            line => self.write(&format!("          {line}\n")),
        })
    }

    fn write(&mut self, text: &str) -> Result<(), Error> {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(Error::io("writing the story"))
    }
}
