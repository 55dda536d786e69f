//! The ids of topics: what tells a topic from another one that was deleted and made again under its name. Snapshots and
//! markers carry it, so that neither is ever taken for the new topic's.
//!
//! The one file with unsafe code: librdkafka knows topic ids (`DescribeTopics`), and its Rust binding does not pass them
//! on. Every pointer that librdkafka hands out is owned here by a guard that gives it back, and none leaves this file.
#![expect(unsafe_code, reason = "the only door to librdkafka's DescribeTopics, which the binding lacks")]

use super::log::{ANSWER, unreachable};
use super::{KafkaError, client};
use crate::config::Config;
use rdkafka::admin::AdminClient;
use rdkafka::bindings::{self, rd_kafka_admin_op_t, rd_kafka_resp_err_t};
use rdkafka::client::Client;
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use std::ffi::{CStr, CString};
use std::ptr;

/// What a broker says that keeps no ids: sixteen zero bytes.
const NONE: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// So often a broker must say that it keeps no ids before that is believed: one that is just being connected may be taken
/// for an old one, and a topic without an id would be taken for another topic.
const ASKED: usize = 3;

/// Kafka's id of a topic, 22 characters of base64; empty where the broker keeps none (the demo's mock). Waits for Kafka,
/// at most [`ANSWER`] for each answer; a topic that is not there is [`KafkaError::NoTopic`].
pub fn topic_id(config: &Config, topic: &str) -> Result<String, KafkaError> {
    for _ in 0..ASKED {
        if let Some(id) = ask(config, topic)? {
            return Ok(id);
        }
    }
    Ok(String::new())
}

/// What the cluster id of librdkafka's mock begins with. It leaves the question for topic ids unanswered.
const MOCK: &str = "mockCluster";

/// One answer, over a connection of its own; none from a broker that seems to keep no ids.
fn ask(config: &Config, topic: &str) -> Result<Option<String>, KafkaError> {
    const DOING: &str = "asking for the id of a topic";
    let failed = |source| KafkaError::Client { doing: DOING, source };
    let admin: AdminClient<DefaultClientContext> = client(config, "topic-id").create().map_err(failed)?;
    let name = CString::new(topic).map_err(|nul| failed(ClientError::Nul(nul)))?;
    if admin.inner().fetch_cluster_id(ANSWER).is_some_and(|id| id.starts_with(MOCK)) {
        return Ok(None);
    }
    match describe(admin.inner(), &name) {
        Ok(id) => Ok(Some(id).filter(|id| id != NONE)),
        Err(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Err(KafkaError::NoTopic { topic: topic.to_owned() })
        }
        Err(RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion) => Ok(None),
        Err(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::BrokerTransportFailure) => {
            Err(unreachable(&config.kafka.brokers, "for the id of a topic"))
        }
        Err(code) => Err(failed(ClientError::AdminOp(code))),
    }
}

/// A pointer of librdkafka's with the function that gives it back.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made by librdkafka for us, and given back once, here, by the function meant for it.
            unsafe { (self.1)(self.0) }
        }
    }
}

/// One question and its answer.
fn describe(client: &Client<DefaultClientContext>, name: &CStr) -> Result<String, RDKafkaErrorCode> {
    let handle = client.native_ptr();
    let timeout_ms = i32::try_from(ANSWER.as_millis()).unwrap_or(i32::MAX);
    let mut names = [name.as_ptr()];
    // SAFETY: `handle` lives as long as `client`. Each object is made by librdkafka, checked where it may be null, and
    // owned by a guard that is dropped after the last use of what it lends: the descriptions belong to `event`.
    unsafe {
        let queue = Owned(bindings::rd_kafka_queue_new(handle), bindings::rd_kafka_queue_destroy);
        let options = Owned(
            bindings::rd_kafka_AdminOptions_new(
                handle,
                rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            ),
            bindings::rd_kafka_AdminOptions_destroy,
        );
        bindings::rd_kafka_AdminOptions_set_request_timeout(options.0, timeout_ms, ptr::null_mut(), 0);
        let topics = Owned(
            bindings::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()),
            bindings::rd_kafka_TopicCollection_destroy,
        );
        bindings::rd_kafka_DescribeTopics(handle, topics.0, options.0, queue.0);
        // Longer than the request's own deadline, which answers with an error of its own.
        let event = Owned(
            bindings::rd_kafka_queue_poll(queue.0, timeout_ms.saturating_add(1000)),
            bindings::rd_kafka_event_destroy,
        );
        if event.0.is_null() {
            return Err(RDKafkaErrorCode::OperationTimedOut);
        }
        check(bindings::rd_kafka_event_error(event.0))?;
        let result = bindings::rd_kafka_event_DescribeTopics_result(event.0);
        if result.is_null() {
            return Err(RDKafkaErrorCode::Fail);
        }
        let mut count = 0;
        let descriptions = bindings::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if count == 0 || descriptions.is_null() {
            return Err(RDKafkaErrorCode::UnknownTopicOrPartition);
        }
        let description = *descriptions;
        let error = bindings::rd_kafka_TopicDescription_error(description);
        if !error.is_null() {
            check(bindings::rd_kafka_error_code(error))?;
        }
        let id = bindings::rd_kafka_TopicDescription_topic_id(description);
        let text = if id.is_null() { ptr::null() } else { bindings::rd_kafka_Uuid_base64str(id) };
        let text = if text.is_null() {
            NONE.to_owned()
        } else {
            CStr::from_ptr(text).to_string_lossy().into_owned()
        };
        Ok(fit_for_paths(&text))
    }
}

/// As Kafka's own tools write it: librdkafka's alphabet has `/`, which would part a name in the store in two.
fn fit_for_paths(id: &str) -> String {
    id.replace('+', "-").replace('/', "_")
}

fn check(code: rd_kafka_resp_err_t) -> Result<(), RDKafkaErrorCode> {
    let code = RDKafkaErrorCode::from(code);
    if code == RDKafkaErrorCode::NoError { Ok(()) } else { Err(code) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_id_is_one_part_of_a_path() {
        assert_eq!(super::fit_for_paths("LNDKIkYaSF6KiQ2Nr4F+/A"), "LNDKIkYaSF6KiQ2Nr4F-_A");
        assert_eq!(super::fit_for_paths(super::NONE), super::NONE);
    }
}
