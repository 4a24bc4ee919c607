//! How far a command has come, and when it is told to stop. It must not know what is done.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on a terminal, now and then a line elsewhere.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    plain: bool,
    told_tenths: u64,
}

impl Progress {
    /// For work of this length.
    #[must_use]
    pub fn new(length: u64, unit: &str, quiet: bool) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let bar = ProgressBar::new(length);
        if quiet || plain {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let template = format!("{{msg:>12}} [{{bar:40}}] {{human_pos}}/{{human_len}} {unit}  {{elapsed}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, plain: plain && !quiet, told_tenths: 0 }
    }

    /// Some of it is done.
    pub fn advance(&mut self, by: u64, message: &str) {
        self.bar.inc(by);
        self.bar.set_message(message.to_owned());
        let tenths = self.bar.position() * 10 / self.bar.length().unwrap_or(1).max(1);
        if self.plain && tenths > self.told_tenths {
            self.told_tenths = tenths;
            eprintln!("{message}: {} %", tenths * 10);
        }
    }

    /// A line above the bar.
    pub fn line(&self, line: &str) {
        self.bar.suspend(|| println!("{line}"));
    }

    /// All is done.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Returns on SIGTERM or Ctrl-C.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be listened for; Ctrl-C can");
            if interrupt.await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
