//! What Kafka's own tools would do, without a JVM for each: two requests of the wire protocol, written by hand, and a
//! foreign transaction on the alerts topic.

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const ELECT_LEADERS: i16 = 43;
const ALTER_REASSIGNMENTS: i16 = 45;

fn ask(port: u16, key: i16, version: i16, flexible: bool, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut request = Vec::new();
    request.extend(key.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(7_i32.to_be_bytes());
    request.extend(5_i16.to_be_bytes());
    request.extend(b"chaos");
    if flexible {
        request.push(0);
    }
    request.extend(body);
    let talk = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(&u32::try_from(request.len()).unwrap_or(0).to_be_bytes())?;
        stream.write_all(&request)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap_or(0)];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    talk().map_err(|fault| format!("Kafka request {key}: {fault}"))
}

/// Any broker that answers.
fn ask_any(base: u16, key: i16, version: i16, flexible: bool, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut last = Err("no broker".to_owned());
    for port in base + 10..base + 13 {
        last = ask(port, key, version, flexible, body);
        if last.is_ok() {
            break;
        }
    }
    last
}

/// Gives every partition of the topics its replicas in this order: the first is the preferred leader.
pub fn reassign(base: u16, topics: &[String], partitions: usize, replicas: &[i32]) -> Result<(), String> {
    let compact = |length: usize| u8::try_from(length + 1).map_err(|_| "too long for one byte".to_owned());
    let mut body = 10_000_i32.to_be_bytes().to_vec();
    body.push(compact(topics.len())?);
    for topic in topics {
        body.push(compact(topic.len())?);
        body.extend(topic.as_bytes());
        body.push(compact(partitions)?);
        for partition in 0..i32::try_from(partitions).unwrap_or(0) {
            body.extend(partition.to_be_bytes());
            body.push(compact(replicas.len())?);
            replicas.iter().for_each(|replica| body.extend(replica.to_be_bytes()));
            body.push(0);
        }
        body.push(0);
    }
    body.push(0);
    let answer = ask_any(base, ALTER_REASSIGNMENTS, 0, true, &body)?;
    // Correlation id, tags, throttle time, then the error of the whole request.
    match answer.get(9..11) {
        Some([0, 0]) => Ok(()),
        other => Err(format!("reassignment refused: {other:?}")),
    }
}

/// Elects the preferred leader of every partition.
pub fn elect(base: u16, topics: &[String], partitions: usize) -> Result<(), String> {
    let mut body = vec![0]; // preferred
    body.extend(i32::try_from(topics.len()).unwrap_or(0).to_be_bytes());
    for topic in topics {
        body.extend(i16::try_from(topic.len()).unwrap_or(0).to_be_bytes());
        body.extend(topic.as_bytes());
        let count = i32::try_from(partitions).unwrap_or(0);
        body.extend(count.to_be_bytes());
        (0..count).for_each(|partition| body.extend(partition.to_be_bytes()));
    }
    body.extend(10_000_i32.to_be_bytes());
    let answer = ask_any(base, ELECT_LEADERS, 1, false, &body)?;
    // Correlation id, throttle time, error, then each topic's partitions with theirs; 84: it leads already.
    if answer.get(8..10) != Some(&[0, 0]) {
        return Err(format!("election refused: {:?}", answer.get(8..10)));
    }
    let mut at = 14;
    for topic in topics {
        at += 2 + topic.len() + 4;
        for _ in 0..partitions {
            let error =
                answer.get(at + 4..at + 6).map_or(-1, |bytes| i16::from_be_bytes([bytes[0], bytes[1]]));
            if ![0, 84].contains(&error) {
                return Err(format!("election of a partition of {topic} refused: error {error}"));
            }
            at += 6;
            let message = answer.get(at..at + 2).map_or(-1, |bytes| i16::from_be_bytes([bytes[0], bytes[1]]));
            at += 2 + usize::try_from(message).unwrap_or(0);
        }
    }
    Ok(())
}

/// A transaction of somebody else's, left open on a partition of alerts.
pub struct Foreign(BaseProducer);

pub fn open_transaction(brokers: &str, topic: &str, partition: usize) -> Result<Foreign, String> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", "chaos-foreign")
        .set("transaction.timeout.ms", "60000")
        .set("log_level", "0")
        .create()
        .map_err(|fault| fault.to_string())?;
    let fault = |fault: rdkafka::error::KafkaError| format!("a foreign transaction: {fault}");
    producer.init_transactions(Duration::from_secs(10)).map_err(fault)?;
    producer.begin_transaction().map_err(fault)?;
    let record = BaseRecord::<str, str>::to(topic)
        .partition(i32::try_from(partition).unwrap_or(0))
        .key("foreign")
        .payload("never committed");
    producer.send(record).map_err(|(why, _)| fault(why))?;
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(5));
    }
    Ok(Foreign(producer))
}

impl Foreign {
    pub fn abort(self) {
        let _ = self.0.abort_transaction(Duration::from_secs(10));
    }
}
