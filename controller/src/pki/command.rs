//! `rustle-exec pki …`: the authority at the command line. Each answer ends with the step that comes next.

use std::io::{BufRead, Read, Write};
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum};
use rustle_protocol::{FleetName, HostName, Role, request};
use serde::Serialize;

use super::authority::{Authority, Issued, Reissue, soon};
use super::error::PkiError;
use super::index::{Entry, Status};

/// Names read from standard input; more are refused.
const NAMES_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The fleet's certificate authority: who may give work, and who may do it.
#[derive(Debug, Args)]
pub struct PkiCommand {
    /// Directory of the certificate authority [default: $XDG_CONFIG_HOME/rustle-exec/pki or ~/.config/rustle-exec/pki]
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a new certificate authority
    Init {
        /// The fleet's name: lower-case letters, digits, `-` and `.`
        #[arg(long, value_name = "NAME")]
        fleet: FleetName,
        /// Days that the CA is valid; no certificate outlives it
        #[arg(long, default_value_t = 3650)]
        days: u32,
    },
    /// Make keys and certificates, one folder for each name, ready to be carried
    Issue {
        /// Whether they do work, or give it
        role: RoleArgument,
        /// Names of hosts as the inventory spells them, or of controllers; `-` reads them from standard input
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Days that the certificate is valid
        #[arg(long, default_value_t = 365)]
        days: u32,
        /// Put the folders here [default: `issued` in the authority's directory]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Make a key here and a request for it, to be carried to the authority
    Request {
        /// What a certificate is asked for
        #[arg(long)]
        role: RoleArgument,
        /// The host's name as the inventory spells it, or the controller's
        #[arg(long)]
        name: HostName,
        /// Directory that the key stays in
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Sign a request that was carried here; only its public key is used
    Sign {
        /// The file with the request
        request: PathBuf,
        /// The name that the certificate is for, whatever the request says
        name: HostName,
        /// The role that the certificate is for, whatever the request says
        #[arg(long = "as", value_name = "ROLE")]
        role: RoleArgument,
        /// Days that the certificate is valid
        #[arg(long, default_value_t = 365)]
        days: u32,
        /// Put the folder here [default: `issued` in the authority's directory]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// The name has a certificate, and this is to follow it
        #[arg(long)]
        renew: bool,
    },
    /// Show what was issued, and what of it ends within 30 days
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke all certificates of a name, or the one of a serial number
    Revoke {
        /// The name, or a serial number as `list` shows it
        #[arg(value_name = "NAME|SERIAL")]
        name_or_serial: String,
    },
    /// Make a new key and certificate for a name; the old ones stay good until they end or are revoked
    Renew {
        /// The name that has a certificate
        name: HostName,
        /// Days that the certificate is valid
        #[arg(long, default_value_t = 365)]
        days: u32,
        /// Put the folder here [default: `issued` in the authority's directory]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArgument {
    Agent,
    Controller,
}

impl From<RoleArgument> for Role {
    fn from(role: RoleArgument) -> Role {
        match role {
            RoleArgument::Agent => Role::Agent,
            RoleArgument::Controller => Role::Controller,
        }
    }
}

impl PkiCommand {
    /// Does what was asked and writes the answer to `out`; names asked for by `-` are read from standard input.
    ///
    /// # Errors
    /// See [`PkiError`]; nothing is left half done.
    pub fn run(self, out: &mut dyn Write) -> Result<(), PkiError> {
        self.run_with(&mut std::io::stdin().lock(), out)
    }

    fn run_with(self, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<(), PkiError> {
        let dir = || self.dir.clone().or_else(default_dir).ok_or(PkiError::NoHome);
        let open = || Authority::open(&dir()?);
        match self.action {
            Action::Init { fleet, days } => {
                let authority = Authority::create(&dir()?, fleet, days)?;
                writeln!(
                    out,
                    "fleet `{}` has a certificate authority in {}",
                    authority.fleet(),
                    authority.dir().display()
                )?;
                writeln!(
                    out,
                    "valid until {}; keep ca-key.pem safe: whoever has it can be anybody in the fleet",
                    day(authority.not_after())
                )?;
                writeln!(out, "next: rustle-exec pki issue controller NAME, rustle-exec pki issue agent HOST...")?;
            }
            Action::Issue { role, names, days, out: parent } => {
                let (role, authority) = (Role::from(role), open()?);
                let issued = authority.issue(role, &read_names(names, input)?, days)?;
                for issued in &issued {
                    hand_out(&authority, issued, parent.as_ref(), out)?;
                }
                next_step(role, true, out)?;
            }
            Action::Request { role, name, out: folder } => {
                let path = request::make(&folder, role.into(), &name)?;
                writeln!(out, "the key is in {}; it stays there", folder.join("key.pem").display())?;
                writeln!(out, "next: carry {} to the authority and run there:", path.display())?;
                writeln!(out, "  rustle-exec pki sign request.pem {name} --as {}", Role::from(role))?;
            }
            Action::Sign { request, name, role, days, out: parent, renew } => {
                let (role, authority) = (Role::from(role), open()?);
                let reissue = if renew { Reissue::Allow } else { Reissue::Refuse };
                let issued = authority.sign(&request, role, &name, days, reissue)?;
                hand_out(&authority, &issued, parent.as_ref(), out)?;
                next_step(role, false, out)?;
            }
            Action::List { json } => list(&open()?, json, out)?,
            Action::Revoke { name_or_serial } => {
                let authority = open()?;
                for entry in authority.revoke(&name_or_serial)? {
                    writeln!(out, "revoked: {} serial {}", entry.identity, entry.serial)?;
                }
                writeln!(out, "next: the new list is {}", authority.dir().join("crl.pem").display())?;
                writeln!(
                    out,
                    "  put it beside the controller's identity: each run brings it to the agents it reaches"
                )?;
                writeln!(out, "  or copy it to the agents as crl.pem beside their cert.pem")?;
            }
            Action::Renew { name, days, out: parent } => {
                let authority = open()?;
                let issued = authority.renew(&name, days)?;
                hand_out(&authority, &issued, parent.as_ref(), out)?;
                writeln!(
                    out,
                    "the old certificate stays good until it ends; to end it sooner: rustle-exec pki revoke SERIAL"
                )?;
                next_step(issued.identity().role, true, out)?;
            }
        }
        Ok(())
    }
}

/// The directory asked for by nobody: below the user's own configuration.
fn default_dir() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(config.join("rustle-exec/pki"))
}

/// `-` stands for the names on standard input, parted by white space; `#` begins a comment.
fn read_names(arguments: Vec<String>, input: &mut dyn BufRead) -> Result<Vec<HostName>, PkiError> {
    let mut names = Vec::new();
    for argument in arguments {
        if argument != "-" {
            names.push(HostName::new(&argument)?);
            continue;
        }
        let mut text = String::new();
        input.take(NAMES_BYTES_MAX).read_to_string(&mut text).map_err(PkiError::Input)?;
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            for name in line.split_whitespace() {
                names.push(HostName::new(name)?);
            }
        }
    }
    Ok(names)
}

fn hand_out(
    authority: &Authority,
    issued: &Issued,
    parent: Option<&PathBuf>,
    out: &mut dyn Write,
) -> Result<(), PkiError> {
    let name = &issued.identity().name;
    let folder = match parent {
        Some(parent) => parent.join(name.as_str()),
        None => authority.folder(name),
    };
    authority.write_folder(issued, &folder)?;
    let entry = &issued.entry;
    writeln!(out, "{} until {} in {}", entry.identity, day(entry.not_after), folder.display())?;
    Ok(())
}

fn next_step(role: Role, with_key: bool, out: &mut dyn Write) -> Result<(), PkiError> {
    match (role, with_key) {
        (Role::Agent, true) => {
            writeln!(out, "next: carry the four files of each folder to its host, into /etc/rustle-agent/identity,")?;
            writeln!(out, "  and delete the key.pem here once it has arrived")?;
        }
        (Role::Controller, true) => {
            writeln!(
                out,
                "next: set `identity` in the controller's configuration to the folder, here or where it is carried to"
            )?;
        }
        (Role::Agent | Role::Controller, false) => {
            writeln!(
                out,
                "next: carry cert.pem, ca.pem and crl.pem back to where the request was made, beside its key.pem"
            )?;
        }
    }
    Ok(())
}

fn list(authority: &Authority, json: bool, out: &mut dyn Write) -> Result<(), PkiError> {
    let now = Utc::now();
    let entries = authority.entries()?;
    if json {
        #[derive(Serialize)]
        struct Listed<'a> {
            status: Status,
            #[serde(flatten)]
            entry: &'a Entry,
        }
        let listed: Vec<_> =
            entries.iter().map(|entry| Listed { status: entry.status(now, soon(now)), entry }).collect();
        serde_json::to_writer_pretty(&mut *out, &listed).map_err(std::io::Error::from)?;
        return Ok(writeln!(out)?);
    }
    let width = entries.iter().map(|entry| entry.identity.name.as_str().len()).max().unwrap_or(0).max(4);
    writeln!(out, "fleet {}, CA until {}", authority.fleet(), day(authority.not_after()))?;
    writeln!(out, "{:width$}  {:10}  {:8}  {:10}  {:10}  SERIAL", "NAME", "ROLE", "STATUS", "FROM", "UNTIL")?;
    for entry in &entries {
        writeln!(
            out,
            "{:width$}  {:10}  {:8}  {}  {}  {}",
            entry.identity.name,
            entry.identity.role,
            entry.status(now, soon(now)).as_str(),
            day(entry.not_before),
            day(entry.not_after),
            entry.serial
        )?;
    }
    Ok(())
}

fn day(time: DateTime<Utc>) -> impl std::fmt::Display {
    time.format("%Y-%m-%d")
}
