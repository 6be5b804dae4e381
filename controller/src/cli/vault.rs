//! `rustle-exec vault`: what `ansible-vault` does.

use std::fs;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::vault_args::{EncryptOptions, VaultCommand, VaultOptions, fetch};
use super::{CliError, print};
use crate::exit_code::ExitCode;
use crate::prompt;
use crate::vault::{Secret, SecretSource, Vault, encrypt, is_encrypted};

/// Size of what is encrypted or decrypted.
const BYTES_MAX: u64 = 256 << 20;

/// Blanks before the lines of an encrypted string in YAML.
const INDENT: &str = "          ";

pub(super) fn run(command: VaultCommand) -> Result<ExitCode, CliError> {
    match command {
        VaultCommand::Encrypt { files, with, output } => {
            let secret = encrypting(&with, true)?;
            each(&files, output.as_deref(), "Encryption successful", |name, bytes| {
                if bytes.starts_with(crate::vault::HEADER.as_bytes()) {
                    return Err(CliError::own(format!("input is already encrypted: {name}")));
                }
                sealed(&bytes, &secret).map(String::into_bytes)
            })
        }
        VaultCommand::Decrypt { files, vault, output } => {
            let vault = decrypting(&vault)?;
            each(&files, output.as_deref(), "Decryption successful", |name, bytes| opened(&vault, name, bytes))
        }
        VaultCommand::View { files, vault } => {
            let vault = decrypting(&vault)?;
            for file in &files {
                let plain = opened(&vault, &file.display().to_string(), read(Some(file))?)?;
                write_out(&plain)?;
            }
            Ok(ExitCode::Success)
        }
        VaultCommand::EncryptString { strings, with, name, stdin_name, prompt, show_input, output } => {
            let secret = encrypting(&with, true)?;
            let all = named_strings(strings, &name, stdin_name, prompt.then_some(show_input))?;
            let parts: Vec<String> =
                all.iter().map(|(name, text)| tagged(name.as_deref(), text, &secret)).collect::<Result<_, _>>()?;
            let text = format!("{}\n", parts.join("\n"));
            match output {
                Some(path) if path != Path::new("-") => replace(&path, text.as_bytes()).map(|()| ExitCode::Success),
                _ => print(&text),
            }
        }
        VaultCommand::Rekey { files, with, new_vault_id, new_vault_password_file } => {
            let vault = decrypting(&with.vault)?;
            let source = match (new_vault_id, new_vault_password_file) {
                (Some(id), _) => SecretSource::of_id(&id),
                (None, Some(file)) => SecretSource::of_file(&file),
                (None, None) => SecretSource::Prompt { label: "default".to_owned() },
            };
            let secret = fetch(&[source], true)?.remove(0);
            each(&files, None, "", |name, bytes| {
                sealed(&opened(&vault, name, bytes)?, &secret).map(String::into_bytes)
            })?;
            // Wherever standard output leads: there is nothing else that it could be mixed up with.
            say("Rekey successful");
            Ok(ExitCode::Success)
        }
        VaultCommand::Create { file, with, skip_tty_check: _ } => {
            if file.exists() {
                return Err(CliError::own(format!("{} exists, please use 'edit' instead", file.display())));
            }
            let secret = encrypting(&with, true)?;
            let text = edited(&file, b"")?;
            replace(&file, sealed(&text, &secret)?.as_bytes())?;
            Ok(ExitCode::Success)
        }
        VaultCommand::Edit { file, with } => edit(&file, &with),
    }
}

fn edit(file: &Path, with: &EncryptOptions) -> Result<ExitCode, CliError> {
    let vault = decrypting(&with.vault)?;
    let name = file.display().to_string();
    let text = text_of(&name, read(Some(file))?)?;
    let (plain, label) = vault
        .decrypt_with(&text)
        .map_err(|error| CliError::own(format!("{error} for {name}")).hint(Some(error.hint())))?;
    let after = edited(file, &plain)?;
    if after != plain {
        // Under the password it had, unless another one is asked for.
        let wanted = with.encrypt_vault_id.clone().or(label);
        let secret = choose(vault.secrets(), wanted.as_deref())?;
        replace(file, sealed(&after, &secret)?.as_bytes())?;
    }
    Ok(ExitCode::Success)
}

/// Runs `$EDITOR` on a private copy.
fn edited(file: &Path, plain: &[u8]) -> Result<Vec<u8>, CliError> {
    let failed = |error: std::io::Error| CliError::own(format!("cannot edit {}: {error}", file.display()));
    let suffix = file.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    let mut copy = tempfile::Builder::new().prefix("rustle-vault-").suffix(&suffix).tempfile().map_err(failed)?;
    copy.write_all(plain).map_err(failed)?;
    let editor = std::env::var("EDITOR").unwrap_or_else(|_| "vi".to_owned());
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program)
        .args(words)
        .arg(copy.path())
        .status()
        .map_err(|error| CliError::own(format!("cannot start the editor {program}: {error}")))?;
    if !status.success() {
        return Err(CliError::own(format!("the editor {program} ended with {status}; nothing was changed")));
    }
    fs::read(copy.path()).map_err(failed)
}

fn decrypting(options: &VaultOptions) -> Result<Vault, CliError> {
    let mut sources = options.sources();
    if sources.is_empty() {
        sources.push(SecretSource::Prompt { label: "default".to_owned() });
    }
    fetch(&sources, false).map(Vault::new)
}

/// The password to encrypt with.
fn encrypting(options: &EncryptOptions, confirm: bool) -> Result<Secret, CliError> {
    let mut sources = options.vault.sources();
    if sources.is_empty() {
        sources.push(SecretSource::Prompt { label: "default".to_owned() });
    }
    choose(&fetch(&sources, confirm)?, options.encrypt_vault_id.as_deref())
}

fn choose(secrets: &[Secret], wanted: Option<&str>) -> Result<Secret, CliError> {
    let labels = || secrets.iter().map(Secret::label).collect::<Vec<_>>().join(",");
    match (wanted, secrets) {
        (Some(label), _) => secrets.iter().find(|secret| secret.label() == label).cloned().ok_or_else(|| {
            CliError::input(format!(
                "Did not find a match for --encrypt-vault-id={label} in the known vault-ids {}",
                labels()
            ))
        }),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(CliError::input(format!(
            "The vault-ids {} are available to encrypt. Specify the vault-id to encrypt with --encrypt-vault-id",
            labels()
        ))),
    }
}

fn sealed(plain: &[u8], secret: &Secret) -> Result<String, CliError> {
    let label = Some(secret.label()).filter(|label| *label != "default");
    encrypt(plain, secret.password(), label).map_err(|error| CliError::own(format!("no random numbers: {error}")))
}

fn opened(vault: &Vault, name: &str, bytes: Vec<u8>) -> Result<Vec<u8>, CliError> {
    let text = text_of(name, bytes)?;
    vault.decrypt(&text).map_err(|error| CliError::own(format!("{error} for {name}")).hint(Some(error.hint())))
}

fn text_of(name: &str, bytes: Vec<u8>) -> Result<String, CliError> {
    let text = String::from_utf8(bytes).ok().filter(|text| is_encrypted(text));
    text.ok_or_else(|| CliError::own(format!("Input is not vault encrypted data. for {name}")))
}

/// Changes each file in place, or writes what becomes of it to `output`; without files, standard input.
fn each(
    files: &[PathBuf],
    output: Option<&Path>,
    done: &str,
    change: impl Fn(&str, Vec<u8>) -> Result<Vec<u8>, CliError>,
) -> Result<ExitCode, CliError> {
    if files.len() > 1 && output.is_some() {
        return Err(CliError::input("At most one input file may be used with the --output option"));
    }
    let inputs: Vec<Option<&Path>> = match files {
        [] => vec![None],
        files => files.iter().map(|file| Some(file.as_path()).filter(|file| *file != Path::new("-"))).collect(),
    };
    for input in inputs {
        let name = input.map_or_else(|| "-".to_owned(), |path| path.display().to_string());
        let changed = change(&name, read(input)?)?;
        match output.or(input).filter(|path| *path != Path::new("-")) {
            Some(path) => replace(path, &changed)?,
            None => write_out(&changed)?,
        }
    }
    if std::io::stdout().is_terminal() && !done.is_empty() {
        say(done);
    }
    Ok(ExitCode::Success)
}

fn say(done: &str) {
    // There is nowhere left to say that this cannot be said.
    let _ = writeln!(std::io::stderr(), "{done}");
}

fn read(path: Option<&Path>) -> Result<Vec<u8>, CliError> {
    let name = path.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
    let failed = |error: std::io::Error| CliError::own(format!("cannot read {name}: {error}"));
    let mut bytes = Vec::new();
    match path {
        Some(path) => fs::File::open(path).map_err(failed)?.take(BYTES_MAX).read_to_end(&mut bytes),
        None => std::io::stdin().lock().take(BYTES_MAX).read_to_end(&mut bytes),
    }
    .map_err(failed)?;
    Ok(bytes)
}

fn write_out(bytes: &[u8]) -> Result<(), CliError> {
    let written = std::io::stdout().lock().write_all(bytes);
    written.map_err(|error| CliError::own(format!("cannot write to standard output: {error}")))
}

/// Puts a file in the place of another in one step. It keeps the mode; a new one is its owner's alone. What is no file,
/// `/dev/stdout` say, is written to.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::own(format!("cannot write {}: {error}", path.display()));
    if fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        let mut device = fs::OpenOptions::new().write(true).open(path).map_err(failed)?;
        return device.write_all(bytes).map_err(failed);
    }
    // Through a link to the file itself.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".vault-").tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    if let Ok(meta) = fs::metadata(&path) {
        file.as_file().set_permissions(meta.permissions()).map_err(failed)?;
    }
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&path).map_err(|error| failed(error.error))?;
    Ok(())
}

type Named = (Option<String>, Vec<u8>);

fn named_strings(
    strings: Vec<String>,
    names: &[String],
    stdin_name: Option<String>,
    ask: Option<bool>,
) -> Result<Vec<Named>, CliError> {
    let mut all: Vec<Named> = Vec::new();
    if let Some(shown) = ask {
        let question = "String to encrypt: ";
        let answer = if shown { prompt::text(question) } else { prompt::secret(question) };
        let text = answer.map_err(|error| CliError::input(format!("cannot ask for the string: {error}")))?;
        let text = some(text.into_bytes(), "The plaintext provided from the prompt was empty, not encrypting")?;
        all.push((names.first().cloned(), text));
    }
    let reads_stdin =
        stdin_name.is_some() || strings.iter().any(|text| text == "-") || (strings.is_empty() && ask.is_none());
    if reads_stdin {
        all.push((stdin_name, some(read(None)?, "stdin was empty, not encrypting")?));
    }
    let mut names = names.iter().skip(usize::from(ask.is_some()));
    for text in strings.into_iter().filter(|text| text != "-") {
        let empty = "The plaintext provided from the command line args was empty, not encrypting";
        all.push((names.next().cloned(), some(text.into_bytes(), empty)?));
    }
    Ok(all)
}

/// # Errors
/// `empty`, of text that is.
fn some(text: Vec<u8>, empty: &str) -> Result<Vec<u8>, CliError> {
    if text.is_empty() { Err(CliError::input(empty)) } else { Ok(text) }
}

/// `name: !vault |` and the encrypted text below it.
fn tagged(name: Option<&str>, text: &[u8], secret: &Secret) -> Result<String, CliError> {
    let sealed = sealed(text, secret)?;
    let lines: Vec<String> = sealed.lines().map(|line| format!("{INDENT}{line}")).collect();
    let head = name.map(|name| format!("{name}: ")).unwrap_or_default();
    Ok(format!("{head}!vault |\n{}", lines.join("\n")))
}
