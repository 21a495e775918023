//! Passwords: argon2id with the parameters that OWASP names (19 MiB, 2 passes, 1 lane), few at a time, on threads of
//! their own that give way to all others: a hundred logins at once must not take the processor from those who buy.

use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Argon2, Params};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::platform::Fault;

/// Passwords that may wait for their turn, about as many as have theirs in time; one more is refused at once.
const WAITING: usize = 32;
/// How far the threads stand back (nice): a third of what another thread gets, so that nobody who signs in starves.
const STANDS_BACK: i32 = 5;

/// What an unknown name is checked against, so that it takes as long as a known one.
static NOBODY: LazyLock<Option<String>> =
    LazyLock::new(|| hash_now(&SecretString::from("nobody")).ok());

type Job = Box<dyn FnOnce() + Send>;

/// Hashes and checks passwords in turn. The threads end with the last handle.
#[derive(Clone)]
pub(super) struct Passwords {
    jobs: SyncSender<Job>,
    places: Arc<Semaphore>,
    patience: Duration,
}

/// A place among those who wait. It is taken before anything else is done for a password, so that whoever is sent away
/// costs nothing.
pub(super) type Place = OwnedSemaphorePermit;

/// Whether a password was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    Wrong,
    Right,
    /// Right, and hashed with other parameters than those of today.
    Outdated,
}

impl Passwords {
    /// Threads for half of the cores; a password waits at most `patience`.
    pub(super) fn new(patience: Duration) -> std::io::Result<Self> {
        let (jobs, taken) = mpsc::sync_channel(WAITING);
        let taken = Arc::new(Mutex::new(taken));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..(cores / 2).max(1) {
            let taken = taken.clone();
            thread::Builder::new().name("passwords".into()).spawn(move || work(&taken))?;
        }
        Ok(Self { jobs, places: Arc::new(Semaphore::new(WAITING)), patience })
    }

    /// A place, if there is one.
    pub(super) fn place(&self) -> Result<Place, Fault> {
        self.places.clone().try_acquire_owned().map_err(|full| busy().because(full))
    }

    /// The PHC string to keep.
    pub(super) async fn hash(
        &self,
        place: &Place,
        password: SecretString,
    ) -> Result<String, Fault> {
        self.in_turn(place, move || hash_now(&password)).await?
    }

    /// Compares with what was kept; with nothing kept it is wrong, after the same work.
    pub(super) async fn check(
        &self,
        place: &Place,
        password: SecretString,
        kept: Option<String>,
    ) -> Result<Checked, Fault> {
        self.in_turn(place, move || check_now(&password, kept.as_deref())).await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        _: &Place,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        let job = move || {
            // Nobody waits any more: the next one's turn.
            if !answer.is_closed() {
                drop(answer.send(work()));
            }
        };
        self.jobs.try_send(Box::new(job)).map_err(|refused| match refused {
            TrySendError::Full(_) => busy(),
            TrySendError::Disconnected(_) => Fault::internal("hashing"),
        })?;
        match tokio::time::timeout(self.patience, answered).await {
            Ok(done) => done.map_err(|gone| Fault::internal("hashing").because(gone)),
            Err(late) => Err(busy().because(late)),
        }
    }
}

fn busy() -> Fault {
    Fault::overloaded("too many passwords at once")
}

/// One thread: a password at a time, until nobody can send another.
fn work(taken: &Mutex<Receiver<Job>>) {
    stand_back();
    loop {
        let next = taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(job) => job(),
            Err(mpsc::RecvError) => return,
        }
    }
}

/// On Linux priority belongs to a thread. Where it cannot be changed, passwords only take as much as others do.
fn stand_back() {
    #[cfg(target_os = "linux")]
    {
        let myself = Some(rustix::thread::gettid());
        if let Err(error) = rustix::process::setpriority_process(myself, STANDS_BACK) {
            tracing::debug!(%error, "passwords do not give way");
        }
    }
}

fn hash_now(password: &SecretString) -> Result<String, Fault> {
    let salt = SaltString::generate(&mut OsRng);
    let hash = Argon2::default().hash_password(password.expose_secret().as_bytes(), &salt);
    Ok(hash.map_err(|error| Fault::internal("hashing").because(error.to_string()))?.to_string())
}

fn check_now(password: &SecretString, kept: Option<&str>) -> Checked {
    let against = kept.or(NOBODY.as_deref()).and_then(|kept| PasswordHash::new(kept).ok());
    let Some(hash) = against else { return Checked::Wrong };
    let right = Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash);
    if right.is_err() || kept.is_none() {
        return Checked::Wrong;
    }
    let today = Params::default();
    let same = Params::try_from(&hash).is_ok_and(|params| {
        (params.m_cost(), params.t_cost(), params.p_cost())
            == (today.m_cost(), today.t_cost(), today.p_cost())
    });
    if same { Checked::Right } else { Checked::Outdated }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[test]
    fn a_password_is_right_only_as_it_was_set() {
        let kept = hash_now(&secret("correct horse")).unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_eq!(check_now(&secret("correct horse"), Some(&kept)), Checked::Right);
        assert_eq!(check_now(&secret("correct horsf"), Some(&kept)), Checked::Wrong);
        assert_ne!(kept, hash_now(&secret("correct horse")).unwrap(), "each has a salt of its own");
    }

    #[test]
    fn nobody_has_no_password() {
        assert_eq!(check_now(&secret("nobody"), None), Checked::Wrong);
        assert!(NOBODY.is_some(), "an unknown name costs the same work");
    }

    #[test]
    fn a_hash_of_yesterday_is_recognised() {
        let weak = Argon2::new(
            argon2::Algorithm::Argon2id,
            argon2::Version::V0x13,
            Params::new(8, 1, 1, None).unwrap(),
        );
        let salt = SaltString::generate(&mut OsRng);
        let kept = weak.hash_password(b"correct horse", &salt).unwrap().to_string();
        assert_eq!(check_now(&secret("correct horse"), Some(&kept)), Checked::Outdated);
    }
}
