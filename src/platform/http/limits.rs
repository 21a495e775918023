//! Rate limits, one layer for every route: who has a customer's token is counted by its subject, who has none by the
//! address; storefronts and admins are not counted. The headers are those of draft-ietf-httpapi-ratelimit-headers-10.

use std::time::Duration;

use actix_web::Error;
use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;

use crate::config::Current;
use crate::platform::http::Problem;
use crate::platform::http::address::{Address, Proxies};
use crate::platform::http::extract::RequestId;
use crate::platform::limiter::{Decision, Limiter, Policy};
use crate::platform::redis::Via;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const MINUTE: Duration = Duration::from_secs(60);

/// What asks after the service itself is never refused.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];
const REGISTER: &str = "/auth/register";

/// Whom a token names, as far as limits care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A storefront or an admin.
    Trusted,
    /// Somebody with a token of their own.
    Named(String),
    /// There is no valid token.
    Nobody,
}

/// Which limit counts.
#[derive(Clone, Copy, Debug)]
enum Class {
    Customer,
    Anonymous,
    Register,
    Login,
    Account,
}

/// The layer's handle, one per worker.
#[derive(Clone)]
pub struct RateLimits {
    limiter: Limiter,
    settings: Current,
    subject: fn(&ServiceRequest) -> Subject,
}

impl RateLimits {
    /// Limits of these settings; `subject` reads the token.
    pub fn new(
        limiter: Limiter,
        settings: &Current,
        subject: fn(&ServiceRequest) -> Subject,
    ) -> Self {
        Self { limiter, settings: settings.clone(), subject }
    }

    /// What stands in the settings right now.
    fn policy(&self, class: Class) -> Policy {
        let settings = &self.settings.load().rate_limit;
        let a_minute = |name, quota| Policy { name, quota, window: MINUTE };
        match class {
            Class::Customer => {
                let window = Duration::from_millis(settings.window_ms);
                Policy { name: "customer", quota: settings.max_requests, window }
            }
            Class::Anonymous => a_minute("anonymous", settings.anonymous_per_minute),
            Class::Register => a_minute("register", settings.register_per_minute),
            Class::Login => a_minute("login", settings.login_per_minute),
            Class::Account => a_minute("account", settings.account_per_minute),
        }
    }

    /// The same limits over another way to Redis.
    pub fn over(&self, via: Via) -> Self {
        Self { limiter: self.limiter.over(via), ..self.clone() }
    }

    async fn of(&self, request: &ServiceRequest) -> Option<Decision> {
        if PROBES.contains(&request.path()) {
            return None;
        }
        let address = || {
            let none = Proxies::default();
            let proxies = request.app_data::<Data<Proxies>>();
            Address::of(request.head(), proxies.map_or(&none, |proxies| proxies)).subject()
        };
        if request.path() == REGISTER {
            return self.limiter.count(self.policy(Class::Register), &address()).await;
        }
        match (self.subject)(request) {
            Subject::Trusted => None,
            Subject::Named(subject) => {
                self.limiter.count(self.policy(Class::Customer), &subject).await
            }
            Subject::Nobody => self.limiter.count(self.policy(Class::Anonymous), &address()).await,
        }
    }

    /// Counts an attempt to sign in: by account and address, and by account alone, so that many addresses are slowed too.
    /// Nobody is locked out: a little later there is room for one more.
    pub async fn login(&self, name: &str, address: Address) -> Result<(), Problem> {
        let name = name.to_lowercase();
        let both = format!("{}:{name}", address.subject());
        for (class, subject) in [(Class::Login, &both), (Class::Account, &name)] {
            if let Some(decision) = self.limiter.count(self.policy(class), subject).await
                && !decision.allowed
            {
                return Err(refusal(&decision));
            }
        }
        Ok(())
    }
}

/// The middleware.
pub async fn limited<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let limits = request.app_data::<Data<RateLimits>>().cloned();
    let decision = match &limits {
        Some(limits) => limits.of(&request).await,
        None => None,
    };
    let mut response = match &decision {
        Some(decision) if !decision.allowed => {
            let id = RequestId::of(&request);
            let refused = refusal(decision).response(id.as_deref());
            request.into_response(refused).map_into_right_body()
        }
        _ => next.call(request).await?.map_into_left_body(),
    };
    if let Some(decision) = decision {
        tell(&decision, response.headers_mut());
    }
    Ok(response)
}

fn refusal(decision: &Decision) -> Problem {
    let Policy { quota, window, .. } = decision.policy;
    let detail = format!("more than {quota} requests in {} s", window.as_secs_f64());
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail)
        .retry_after(seconds(decision.wait))
}

fn tell(decision: &Decision, headers: &mut HeaderMap) {
    let Policy { name, quota, window } = decision.policy;
    let window = seconds(window);
    let left = format!("\"{name}\";r={};t={}", decision.left, seconds(decision.reset));
    let texts = [(POLICY, format!("\"{name}\";q={quota};w={window}")), (LIMIT, left)];
    for (header, text) in texts {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(header, value);
        }
    }
}

/// Whole seconds, never too few.
fn seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1_000) as u64
}
