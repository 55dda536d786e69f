//! The person who is paged: an HTTP server that remembers every notification, and can be slow.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One notification as it came.
#[derive(Debug, Clone)]
pub struct Told {
    pub key: String,
    pub body: String,
}

/// The server. Its threads end with the process.
pub struct Receiver {
    told: Arc<Mutex<Vec<Told>>>,
    delay_ms: Arc<AtomicU64>,
}

impl Receiver {
    pub fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let (told, delay_ms) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
        let (seen, delay) = (Arc::clone(&told), Arc::clone(&delay_ms));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, delay) = (Arc::clone(&seen), Arc::clone(&delay));
                std::thread::spawn(move || drop(answer(&stream, &seen, &delay)));
            }
        });
        Self { told, delay_ms }
    }

    /// How long each answer takes from now on, milliseconds.
    pub fn delay(&self, ms: u64) {
        self.delay_ms.store(ms, Ordering::Relaxed);
    }

    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often a key came again.
    pub fn repeats(&self) -> u64 {
        let mut keys = BTreeMap::new();
        self.told().into_iter().for_each(|told| *keys.entry(told.key).or_insert(0) += 1);
        keys.values().map(|count: &u64| count - 1).sum()
    }

    /// The last status of each alert that it was told, by name, service and host.
    pub fn last(&self) -> BTreeMap<(String, String, String), String> {
        let mut last = BTreeMap::new();
        for told in self.told() {
            let body: Value = serde_json::from_str(&told.body).unwrap_or_default();
            for alert in body["alerts"].as_array().into_iter().flatten() {
                let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
                let status = alert["status"].as_str().unwrap_or_default().to_owned();
                last.insert((label("alertname"), label("service"), label("host")), status);
            }
        }
        last
    }
}

fn answer(mut stream: &TcpStream, told: &Mutex<Vec<Told>>, delay: &AtomicU64) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut key, mut lines) = (0, String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            lines += 1;
            if let Some((name, value)) = line.split_once(':') {
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.trim().parse().unwrap_or(0),
                    "idempotency-key" => value.trim().clone_into(&mut key),
                    _ => {}
                }
            }
        }
        if lines == 0 {
            return Ok(());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        told.lock().unwrap_or_else(PoisonError::into_inner).push(Told { key, body });
        std::thread::sleep(Duration::from_millis(delay.load(Ordering::Relaxed)));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
    }
}
