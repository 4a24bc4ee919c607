//! `acgs constitution verify FILE`: is this the document that the identifier names?

use std::{path::PathBuf, process::ExitCode};

use acgs_vocabulary::constitution::{DOCUMENT_BYTES_MAX, identifier, sha256_hex};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use acgs_server::Settings;

/// Check documents against the constitutional hash.
#[derive(Debug, Args)]
pub struct ConstitutionCommand {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Recompute a document's identifier: the first 16 hex digits of the SHA-256 of its raw bytes. Exit code 0 when it
    /// is an accepted one, 1 when not.
    Verify {
        /// The document; every blank counts.
        file: PathBuf,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

impl ConstitutionCommand {
    /// Verifies.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let Verb::Verify { file, json } = self.command;
        let document = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        if document.is_empty() || document.len() > DOCUMENT_BYTES_MAX {
            bail!("{} has {} bytes, not 1 to {DOCUMENT_BYTES_MAX}", file.display(), document.len());
        }
        let constitution = settings.constitution()?;
        let identifier = identifier(&document);
        let valid = constitution.accepts(&identifier);
        if json {
            let sha256 = sha256_hex(&document);
            println!("{}", serde_json::json!({ "identifier": identifier, "sha256": sha256, "valid": valid }));
        } else if valid {
            println!("{identifier}  valid: {} is the document in force", file.display());
        } else {
            println!("{identifier}  NOT valid: accepted are {}", constitution.accepted().join(", "));
            println!("White space counts: an editor that strips trailing blanks changes the identifier.");
        }
        Ok(if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
