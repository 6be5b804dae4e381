//! Every message of protocol version 1 as it stands on the wire. These bytes are frozen: an agent in the field sends and
//! reads them for as long as anybody speaks version 1. A new version gets messages of its own beside these.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

use rustle_protocol::message::{
    Become, BecomeMethod, BlobHeader, BlobId, Call, CallEvent, CallOutcome, CallRequest, ControlNotice, ControlRequest,
    Hello, HelloReply, OnDisconnect, OutputStream, Received, Refusal, RefusalCode, Resumed, VersionRange, Welcome,
};
use rustle_protocol::result::Diff;
use rustle_protocol::value::WireMap;
use rustle_protocol::{CallKey, Map, ModuleResult, Password, RunId, Value, codec, frame};

/// `(name, hex)` of each message, one a line.
const RECORDED: &str = include_str!("frames.txt");

fn key() -> CallKey {
    CallKey {
        run: RunId::from_u128(0x0192_f0c1_2345_7abc_8def_0123_4567_89ab),
        task: 300,
        round: 1,
        item: 70_000,
        attempt: 2,
    }
}

fn map() -> Map {
    let entries = [
        ("null", Value::Null),
        ("no", Value::Bool(false)),
        ("yes", Value::Bool(true)),
        ("int", Value::Int(-1_000_000)),
        ("uint", Value::UInt(u64::MAX)),
        ("float", Value::Float(1.5)),
        ("string", Value::from("grün")),
        ("bytes", Value::Bytes(vec![0, 255])),
        ("list", Value::List(vec![Value::Int(1), Value::List(vec![])])),
        ("map", Value::Map([("k".to_owned(), Value::Int(2))].into_iter().collect())),
    ];
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn result() -> ModuleResult {
    let diff = Diff {
        before: Value::from("a"),
        after: Value::from("b"),
        before_header: Some("/etc/motd".into()),
        after_header: None,
    };
    let mut result = ModuleResult::changed(true).with_diff([diff]).with_warning("mind the gap");
    *result.values_mut() = map();
    result
}

fn call(all_set: bool) -> CallRequest {
    CallRequest::Call(Box::new(Call {
        key: key(),
        module: "ansible.builtin.copy".into(),
        args: WireMap(map()),
        check: all_set,
        diff: all_set,
        timeout_ms: 600_000,
        live_output: all_set,
        no_log: all_set,
        ignore_failure: all_set,
        environment: vec![("LANG".into(), "C".into())],
        become_user: all_set.then(become_www),
        verbosity: 3,
    }))
}

fn become_www() -> Become {
    Become {
        user: "www".into(),
        method: BecomeMethod::Runuser,
        flags: Some("-H -S".into()),
        exe: Some("/usr/bin/doas".into()),
        chdir: Some("/srv".into()),
        password: Some(Password::new("open sesame".to_owned()).unwrap()),
        prompts: vec!["Mot de passe".into()],
        wait_ms: 3000,
    }
}

fn resumed() -> CallRequest {
    let CallRequest::Call(call) = call(false) else { unreachable!("it is made above") };
    let received = Received { stdout: 300, stderr: 1 };
    CallRequest::Resume(Box::new(Resumed { call: *call, begun: true, received }))
}

const BLOB: BlobId = BlobId { hash: [0xab; 32], size: 1 << 40 };

/// Name, frame, and whether these bytes decode to this very message.
type Recording = (String, Vec<u8>, Box<dyn Fn(&[u8]) -> bool>);

fn recording<T>(name: impl Into<String>, message: T) -> Recording
where
    T: bincode::Encode + bincode::Decode<()> + PartialEq + 'static,
{
    let mut bytes = Vec::new();
    frame::push(&mut bytes, &message).unwrap();
    (name.into(), bytes, Box::new(move |body| codec::decode::<T>(body).is_ok_and(|decoded| decoded == message)))
}

fn messages() -> Vec<Recording> {
    let refusal = |code| Refusal { code, message: "no".into() };
    let mut all = vec![
        recording("value", Value::Map(map())),
        recording(
            "hello",
            Hello {
                versions: VersionRange { min: 1, max: 300 },
                software: "rustle-exec/0.1.0".into(),
                host: "web1.example.org".parse().unwrap(),
                run: key().run,
                epoch: 7,
                on_disconnect: OnDisconnect::Cancel,
                extra: WireMap(map()),
            },
        ),
        recording(
            "welcome",
            HelloReply::Welcome(Welcome {
                version: 1,
                software: "rustle-agent/0.1.0".into(),
                os: "linux".into(),
                arch: "x86_64".into(),
                boot_id: "8b6c".into(),
                calls_max: 16,
                extra: WireMap(map()),
            }),
        ),
        recording("revocations", ControlRequest::Revocations(vec![0x30, 0x82])),
        recording("acknowledge", ControlRequest::Acknowledge(vec![key(), key()])),
        recording("forget_blobs", ControlRequest::ForgetBlobs),
        recording("draining", ControlNotice::Draining),
        recording("call", call(false)),
        recording("call_all_set", call(true)),
        recording("cancel", CallRequest::Cancel),
        recording("blob_header", BlobHeader { blob: BLOB, offset: 65_536 }),
        recording("started", CallEvent::Started),
        recording("stdout", CallEvent::Output { stream: OutputStream::Stdout, bytes: b"out".to_vec() }),
        recording("stderr", CallEvent::Output { stream: OutputStream::Stderr, bytes: vec![0xff] }),
        recording("blob_wanted", CallEvent::BlobWanted { blob: BLOB, offset: 1 }),
        recording("resume", resumed()),
        recording("cut", CallEvent::Cut { stream: OutputStream::Stderr, bytes: 1 << 33 }),
    ];
    let codes = [
        RefusalCode::Version,
        RefusalCode::Identity,
        RefusalCode::Policy,
        RefusalCode::Stale,
        RefusalCode::Busy,
        RefusalCode::Draining,
        RefusalCode::UnknownModule,
        RefusalCode::Arguments,
        RefusalCode::Protocol,
        RefusalCode::BecomeWait,
    ];
    all.extend(codes.map(|code| recording(format!("refused_{code:?}"), HelloReply::Refused(refusal(code)))));
    let outcomes = [
        ("finished", CallOutcome::Finished(result())),
        ("timed_out", CallOutcome::TimedOut(ModuleResult::failed("late"))),
        ("cancelled", CallOutcome::Cancelled(ModuleResult::skipped("stop"))),
        ("refused", CallOutcome::Refused(refusal(RefusalCode::Busy))),
        ("interrupted", CallOutcome::Interrupted),
        ("not_run", CallOutcome::NotRun),
    ];
    all.extend(outcomes.map(|(name, outcome)| {
        recording(format!("ended_{name}"), CallEvent::Ended { outcome, elapsed_us: 1_234_567 })
    }));
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digit).collect()
}

#[test]
fn every_recorded_frame_still_means_what_it_meant() {
    let messages = messages();
    let recorded: Vec<(&str, &str)> = RECORDED.lines().filter_map(|line| line.split_once(' ')).collect();
    let names: Vec<_> = messages.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(recorded.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names, "a message came or went");
    for ((name, text), (_, _, means_the_same)) in recorded.iter().zip(&messages) {
        let frame = unhex(text);
        let (length, body) = frame.split_first_chunk::<4>().expect("a length");
        assert_eq!(u32::from_le_bytes(*length) as usize, body.len(), "{name}");
        assert!(means_the_same(body), "{name} is read as something else");
    }
}

#[test]
fn every_message_is_still_written_as_it_was() {
    let written: String = messages().iter().map(|(name, bytes, _)| format!("{name} {}\n", hex(bytes))).collect();
    assert_eq!(written, RECORDED);
}

#[test]
fn a_recorded_frame_with_any_byte_changed_or_cut_never_panics() {
    for line in RECORDED.lines() {
        let body = unhex(line.split_once(' ').expect("name and bytes").1).split_off(4);
        for at in 0..body.len() {
            for byte in [0, 1, 0x7f, 0xfb, 0xfc, 0xfd, 0xff] {
                let mut changed = body.clone();
                changed[at] = byte;
                decode_as_everything(&changed);
            }
            decode_as_everything(&body[..at]);
        }
    }
}

fn decode_as_everything(body: &[u8]) {
    let _ = codec::decode::<Value>(body);
    let _ = codec::decode::<Hello>(body);
    let _ = codec::decode::<HelloReply>(body);
    let _ = codec::decode::<ControlRequest>(body);
    let _ = codec::decode::<ControlNotice>(body);
    let _ = codec::decode::<CallRequest>(body);
    let _ = codec::decode::<CallEvent>(body);
    let _ = codec::decode::<BlobHeader>(body);
}
