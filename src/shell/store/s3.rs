//! Objects in a bucket of S3, or of a server that speaks like it: path style, no checksums that only AWS knows, every
//! time bounded, retries our own (a retried write has to know that its first attempt may have been stored).

use super::server_clock::ServerClock;
use super::{LISTED_MAX, Listed, Patience, StoreError};
use crate::config;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient, StalledStreamProtectionConfig, retry::RetryConfig,
};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use std::error::Error;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The region that is signed for where none is configured: what servers other than AWS expect.
const REGION: &str = "us-east-1";
/// Threads that move bytes: a restore reads several parts at once.
const THREADS: usize = 2;

pub(super) struct S3 {
    runtime: Runtime,
    client: Client,
    url: String,
    bucket: String,
    prefix: String,
    patience: Patience,
    clock: ServerClock,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3").field("url", &self.url).finish_non_exhaustive()
    }
}

/// How one attempt ended that did not succeed.
enum Fault {
    /// It may succeed when tried again.
    Passing(String),
    /// It will not.
    Final(StoreError),
}

impl S3 {
    pub(super) fn open(
        config: &config::Snapshots,
        bucket: String,
        prefix: String,
        patience: Patience,
    ) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(|fault| StoreError::System { why: fault.to_string() })?;
        let clock = ServerClock::default();
        let client = runtime.block_on(client(config, patience, clock.clone()));
        Ok(Self { runtime, client, url: config.url.clone(), bucket, prefix, patience, clock })
    }

    /// The object's name within the bucket.
    fn key(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    /// Tries until it succeeds, will not, or the attempts are used up. `bytes` is what an attempt moves.
    fn call<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        doing: &dyn Fn() -> String,
        bytes: u64,
        attempt: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        let bound =
            self.patience.attempt + Duration::from_secs(bytes / self.patience.bytes_per_second.max(1));
        self.runtime.block_on(async {
            let mut backoff = self.patience.backoff;
            let mut last = String::new();
            for number in 0..self.patience.attempts {
                if number > 0 {
                    tokio::time::sleep(backoff).await;
                    backoff *= 2;
                }
                match tokio::time::timeout(bound, attempt()).await {
                    Ok(Ok(done)) => return Ok(done),
                    Ok(Err(Fault::Final(fault))) => return Err(fault),
                    Ok(Err(Fault::Passing(why))) => last = why,
                    Err(_) => last = format!("no answer within {bound:?}"),
                }
            }
            let (url, attempts) = (self.url.clone(), self.patience.attempts);
            Err(StoreError::Unavailable { url, doing: doing(), attempts, why: last })
        })
    }

    /// Sorts a failed attempt.
    fn sort<E>(&self, doing: &dyn Fn() -> String, fault: &SdkError<E>) -> Fault
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let why = words(fault);
        match status(fault) {
            // 409: another conditional write of that name is under way. 429: slow down. 5xx: the server's own trouble.
            // None: there was no answer at all.
            None | Some(408 | 409 | 425 | 429 | 500..=599) => Fault::Passing(why),
            Some(_) if self.clock.learn(fault) => Fault::Passing(why),
            Some(_) => Fault::Final(StoreError::Refused { url: self.url.clone(), doing: doing(), why }),
        }
    }

    /// False where an object of that name is there.
    pub(super) fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let doing = || format!("the write of {key}");
        let name = self.key(key);
        self.call(&doing, bytes.len() as u64, || async {
            let body = ByteStream::from(bytes.to_vec());
            let request =
                self.client.put_object().bucket(&self.bucket).key(&name).if_none_match("*").body(body);
            match request.send().await {
                Ok(_) => Ok(true),
                Err(fault) => match status(&fault) {
                    Some(412) => Ok(false),
                    _ => Err(self.sort(&doing, &fault)),
                },
            }
        })
    }

    pub(super) fn get(&self, key: &str, max: u64) -> Result<Vec<u8>, StoreError> {
        let doing = || format!("the read of {key}");
        let name = self.key(key);
        let too_long = || Fault::Final(StoreError::TooLong { key: key.to_owned(), max });
        self.call(&doing, max, || async {
            let answer = self.client.get_object().bucket(&self.bucket).key(&name).send().await;
            let mut object = answer.map_err(|fault| match status(&fault) {
                Some(404) => Fault::Final(StoreError::NotFound { key: key.to_owned() }),
                _ => self.sort(&doing, &fault),
            })?;
            let declared = object.content_length().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
            if declared > max {
                return Err(too_long());
            }
            let mut bytes = Vec::with_capacity(usize::try_from(declared).unwrap_or_default());
            while let Some(chunk) = object.body.next().await {
                let chunk = chunk.map_err(|fault| Fault::Passing(fault.to_string()))?;
                if (bytes.len() + chunk.len()) as u64 > max {
                    return Err(too_long());
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(bytes)
        })
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let doing = || format!("the listing of {prefix:?}");
        let whole = self.key(prefix);
        let cut = whole.len() - prefix.len();
        let mut listed = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = self.call(&doing, 0, || async {
                let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(&whole);
                let answer = request.set_continuation_token(next.clone()).send().await;
                answer.map_err(|fault| self.sort(&doing, &fault))
            })?;
            for object in page.contents() {
                let Some(key) = object.key().filter(|key| key.starts_with(&whole)) else { continue };
                let bytes = object.size().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
                listed.push(Listed { key: key[cut..].to_owned(), bytes });
            }
            if listed.len() > LISTED_MAX {
                return Err(StoreError::TooMany { url: self.url.clone(), prefix: prefix.to_owned() });
            }
            // A server that gives the same token again would be asked for ever.
            let token = page.next_continuation_token().map(str::to_owned);
            if token.is_none() || token == next || page.is_truncated() != Some(true) {
                return Ok(listed);
            }
            next = token;
        }
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), StoreError> {
        let doing = || format!("the removal of {key}");
        let name = self.key(key);
        self.call(&doing, 0, || async {
            match self.client.delete_object().bucket(&self.bucket).key(&name).send().await {
                Ok(_) => Ok(()),
                Err(fault) => match status(&fault) {
                    Some(404) => Ok(()),
                    _ => Err(self.sort(&doing, &fault)),
                },
            }
        })
    }
}

fn status<E>(fault: &SdkError<E>) -> Option<u16> {
    fault.raw_response().map(|answer| answer.status().as_u16())
}

/// The server's own words where it said any.
fn words<E: ProvideErrorMetadata + Error + 'static>(fault: &SdkError<E>) -> String {
    let status = status(fault).map(|status| format!("HTTP {status} ")).unwrap_or_default();
    match (fault.code(), fault.message()) {
        (Some(code), Some(message)) => format!("{status}{code}: {message}"),
        (Some(code), None) => format!("{status}{code}"),
        (None, _) => format!("{status}{}", DisplayErrorContext(fault)),
    }
}

async fn client(config: &config::Snapshots, patience: Patience, clock: ServerClock) -> Client {
    let plain = config.endpoint.starts_with("http://");
    let http: SharedHttpClient = if plain {
        aws_smithy_http_client::Builder::new().build_http()
    } else {
        let provider = Provider::Rustls(CryptoMode::Ring);
        aws_smithy_http_client::Builder::new().tls_provider(provider).build_https()
    };
    let timeouts = TimeoutConfig::builder().connect_timeout(patience.connect).build();
    let mut builder = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http.clone())
        .time_source(clock)
        .force_path_style(true)
        // A restore verifies every byte by BLAKE3; servers other than AWS know few of these checksums.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts);
    let mut region = (!config.region.is_empty()).then(|| Region::new(config.region.clone()));
    if let (Some(access), Some(secret)) = (&config.access_key, &config.secret_key) {
        let keys = Credentials::new(access.reveal(), secret.reveal(), None, None, "configuration");
        builder = builder.credentials_provider(keys);
    } else {
        // The machine's own: environment, profile, container, instance.
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
        if let Some(region) = &region {
            loader = loader.region(region.clone());
        }
        let found = loader.load().await;
        region = region.or_else(|| found.region().cloned());
        if let Some(credentials) = found.credentials_provider() {
            builder = builder.credentials_provider(credentials);
        }
    }
    if !config.endpoint.is_empty() {
        builder = builder.endpoint_url(&config.endpoint);
    }
    let region = region.unwrap_or_else(|| Region::from_static(REGION));
    Client::from_conf(builder.region(region).build())
}
