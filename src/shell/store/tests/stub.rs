//! An S3 server that does what a script says: enough of the protocol for the store's five calls, and every way of not
//! answering well.

use crate::config;
use crate::shell::store::{Patience, Store};
use crate::shell::thread;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Names in one page of a listing.
const PAGE: usize = 3;

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An answer of this status, and nothing done.
    Status(u16),
    /// The connection is cut before an answer.
    Reset,
    /// No answer, until the client gives up.
    Hang,
    /// Done, and the connection is cut before the answer.
    DoneAndReset,
    /// Done, and the answer ends in the middle of its body.
    CutBody,
    /// Done, a few bytes at a time.
    Drip,
    /// Done as if there were no If-None-Match.
    Replace,
    /// Listed without the newest object.
    Stale,
    /// Refused unless the request was signed on this day of 1994: the server's clock stands in that year.
    Skewed,
}

/// Method, name, and how many requests of that method came before.
type Script = Box<dyn FnMut(&str, &str, usize) -> Option<Fault> + Send>;

struct State {
    objects: BTreeMap<String, Vec<u8>>,
    requests: Vec<(String, String)>,
    script: Script,
}

/// The server. It ends with the process.
pub(crate) struct Stub {
    state: Arc<Mutex<State>>,
    port: u16,
}

impl Stub {
    pub(crate) fn start(script: impl FnMut(&str, &str, usize) -> Option<Fault> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let port = listener.local_addr().expect("it is bound").port();
        let state = State { objects: BTreeMap::new(), requests: Vec::new(), script: Box::new(script) };
        let state = Arc::new(Mutex::new(state));
        let serving = Arc::clone(&state);
        let accept = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&serving);
                thread::spawn("stub", move || serve(&stream, &state)).expect("there are threads");
            }
        };
        thread::spawn("stub-accept", accept).expect("there are threads");
        Self { state, port }
    }

    /// A store on it that loses patience quickly.
    pub(crate) fn store(&self) -> Store {
        let key = || Some(config::Secret::new("key"));
        let config = config::Snapshots {
            url: "s3://bucket/pre/fix".to_owned(),
            interval: Duration::from_secs(3600),
            endpoint: format!("http://127.0.0.1:{}", self.port),
            region: String::new(),
            access_key: key(),
            secret_key: key(),
        };
        let patience = Patience {
            connect: Duration::from_secs(2),
            attempt: Duration::from_millis(400),
            bytes_per_second: 1 << 30,
            attempts: 3,
            backoff: Duration::from_millis(2),
        };
        Store::open(&config, patience).expect("it can be opened").expect("it is configured")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panicked")
    }

    /// What it holds, by name below the prefix.
    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let strip = |key: &String| key.strip_prefix("pre/fix/").expect("below the prefix").to_owned();
        self.lock().objects.iter().map(|(key, bytes)| (strip(key), bytes.clone())).collect()
    }

    /// Puts something there behind the store's back.
    pub(crate) fn plant(&self, key: &str, bytes: &[u8]) {
        self.lock().objects.insert(format!("pre/fix/{key}"), bytes.to_vec());
    }

    /// Another script from here on; counting begins anew.
    pub(crate) fn script(&self, script: impl FnMut(&str, &str, usize) -> Option<Fault> + Send + 'static) {
        let mut state = self.lock();
        state.script = Box::new(script);
        state.requests.clear();
    }

    /// How many requests of a method came.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.lock().requests.iter().filter(|(of, _)| of == method).count()
    }
}

struct Request {
    method: String,
    key: String,
    query: BTreeMap<String, String>,
    only_new: bool,
    signed: String,
    body: Vec<u8>,
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut only_new, mut signed) = (0, false, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim_end().to_ascii_lowercase();
        match header.split_once(": ") {
            Some(("content-length", value)) => length = value.parse().ok()?,
            Some(("if-none-match", _)) => only_new = true,
            Some(("x-amz-date", value)) => value.clone_into(&mut signed),
            Some(("expect", _)) => (&*stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let key = decode(path.strip_prefix("/bucket")?.trim_start_matches('/'));
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = query.map(|(name, value)| (name.to_owned(), decode(value))).collect();
    Some(Request { method, key, query, only_new, signed, body })
}

fn decode(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = u8::from_str_radix(&part[..2], 16).expect("a percent code");
        out.push(char::from(byte));
        out.push_str(&part[2..]);
    }
    out
}

fn serve(mut stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let request = read(stream)?;
    let (fault, status, body) = {
        let mut state = state.lock().expect("nobody panicked");
        let nth = state.requests.iter().filter(|(method, _)| *method == request.method).count();
        state.requests.push((request.method.clone(), request.key.clone()));
        let name = request.key.strip_prefix("pre/fix/").unwrap_or(&request.key).to_owned();
        let fault = (state.script)(&request.method, &name, nth);
        match fault {
            Some(Fault::Reset) => return None,
            Some(Fault::Hang) => {
                drop(state);
                // Until the client hangs up.
                let _ = stream.read(&mut [0]);
                return None;
            }
            Some(Fault::Status(status)) => (fault, status, error("Scripted")),
            Some(Fault::Skewed) if !request.signed.starts_with("19941106t") => {
                (fault, 403, error("RequestTimeTooSkewed"))
            }
            Some(
                Fault::DoneAndReset
                | Fault::CutBody
                | Fault::Drip
                | Fault::Replace
                | Fault::Stale
                | Fault::Skewed,
            )
            | None => {
                let (status, body) = act(&mut state, &request, fault);
                (fault, status, body)
            }
        }
    };
    if fault == Some(Fault::DoneAndReset) {
        return None;
    }
    let mut out = stream;
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    out.write_all(head.as_bytes()).ok()?;
    match fault {
        Some(Fault::CutBody) => out.write_all(&body[..body.len() / 2]).ok()?,
        Some(Fault::Drip) => {
            for byte in body.chunks(1) {
                out.write_all(byte).ok()?;
                thread::pause(Duration::from_millis(100));
            }
        }
        Some(_) | None => out.write_all(&body).ok()?,
    }
    Some(())
}

fn error(code: &str) -> Vec<u8> {
    format!("<Error><Code>{code}</Code><Message>as the script says</Message></Error>").into_bytes()
}

fn act(state: &mut State, request: &Request, fault: Option<Fault>) -> (u16, Vec<u8>) {
    match request.method.as_str() {
        "PUT"
            if request.only_new
                && fault != Some(Fault::Replace)
                && state.objects.contains_key(&request.key) =>
        {
            (412, error("PreconditionFailed"))
        }
        "PUT" => {
            state.objects.insert(request.key.clone(), request.body.clone());
            (200, Vec::new())
        }
        "DELETE" => {
            state.objects.remove(&request.key);
            (204, Vec::new())
        }
        "GET" if request.query.contains_key("list-type") => (200, list(state, request, fault)),
        "GET" => match state.objects.get(&request.key) {
            Some(bytes) => (200, bytes.clone()),
            None => (404, error("NoSuchKey")),
        },
        _ => (405, error("MethodNotAllowed")),
    }
}

fn list(state: &State, request: &Request, fault: Option<Fault>) -> Vec<u8> {
    let prefix = request.query.get("prefix").map_or("", String::as_str);
    let mut found: Vec<_> = state.objects.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
    if fault == Some(Fault::Stale) {
        found.pop();
    }
    let from: usize =
        request.query.get("continuation-token").and_then(|token| token.parse().ok()).unwrap_or(0);
    let more = found.len() > from + PAGE;
    let mut out = format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>");
    if more {
        out += &format!("<NextContinuationToken>{}</NextContinuationToken>", from + PAGE);
    }
    for (key, bytes) in found.into_iter().skip(from).take(PAGE) {
        out += &format!("<Contents><Key>{key}</Key><Size>{}</Size></Contents>", bytes.len());
    }
    (out + "</ListBucketResult>").into_bytes()
}
