//! `acgs bench`.

use std::process::ExitCode;

use clap::Args;

use crate::settings::Settings;

/// Measure speed beside a baseline in the same run.
#[derive(Debug, Args)]
pub struct Bench {}

impl Bench {
    /// Measures.
    ///
    /// # Errors
    /// When something cannot be started.
    pub async fn run(self, _settings: Settings) -> anyhow::Result<ExitCode> {
        Ok(ExitCode::SUCCESS)
    }
}
