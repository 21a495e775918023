//! Passwords: argon2id with the parameters that OWASP names (19 MiB, 2 passes, 1 lane), few at a time, on threads of
//! their own: a hundred logins at once must not take the processor from those who buy.
//!
//! Two kinds of thread take passwords. The idle ones come first and get what nobody else wants (SCHED_IDLE, sched(7)).
//! When they get nothing at all, those who wait turn to one that only stands back, so that a sale which takes the whole
//! machine shuts nobody out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Argon2, Params};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::platform::Fault;

/// Passwords that may wait for their turn, about as many as have theirs in time; one more is refused at once.
const WAITING: usize = 32;
/// When the idle threads have finished nothing for so long (a password takes them a tenth of it), they are starved.
const STARVED: Duration = Duration::from_millis(250);
/// How far the other thread stands back (nice): a third of what any other gets.
const STANDS_BACK: i32 = 5;

/// What an unknown name is checked against, so that it takes as long as a known one.
static NOBODY: LazyLock<Option<String>> =
    LazyLock::new(|| hash_now(&SecretString::from("nobody")).ok());

/// Runs its work for whoever still waits; the second run finds nobody.
type Job = Arc<dyn Fn() + Send + Sync>;

/// Hashes and checks passwords in turn. The threads end with the last handle.
#[derive(Clone)]
pub(super) struct Passwords {
    idle: SyncSender<Job>,
    pressing: SyncSender<Job>,
    /// How many the idle threads have finished.
    finished: Arc<AtomicU64>,
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
    /// Idle threads for half of the cores, and one that is pressing; a password waits at most `patience`.
    pub(super) fn new(patience: Duration) -> std::io::Result<Self> {
        let finished = Arc::new(AtomicU64::new(0));
        let count = finished.clone();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let idle = threads("passwords", (cores / 2).max(1), be_idle, move || {
            count.fetch_add(1, Ordering::Relaxed);
        })?;
        let pressing = threads("passwords-press", 1, stand_back, || {})?;
        Ok(Self { idle, pressing, finished, places: Arc::new(Semaphore::new(WAITING)), patience })
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
        work: impl Fn() -> T + Send + Sync + 'static,
    ) -> Result<T, Fault> {
        let (job, mut answered) = job(work);
        let end = Instant::now() + self.patience;
        send(&self.idle, job.clone())?;
        let mut pressing = Some(job);
        let mut finished = self.finished.load(Ordering::Relaxed);
        loop {
            let look = end.min(Instant::now() + STARVED);
            if let Ok(done) = timeout_at(look, &mut answered).await {
                return done.map_err(|gone| Fault::internal("hashing").because(gone));
            }
            if look == end {
                return Err(busy());
            }
            let before = std::mem::replace(&mut finished, self.finished.load(Ordering::Relaxed));
            if before == finished
                && let Some(job) = pressing.take()
            {
                send(&self.pressing, job)?;
            }
        }
    }
}

fn busy() -> Fault {
    Fault::overloaded("too many passwords at once")
}

fn job<T: Send + 'static>(
    work: impl Fn() -> T + Send + Sync + 'static,
) -> (Job, oneshot::Receiver<T>) {
    let (answer, answered) = oneshot::channel();
    let answer = Mutex::new(Some(answer));
    let job = move || {
        if lock(&answer).as_ref().is_some_and(|answer| !answer.is_closed()) {
            let done = work();
            lock(&answer).take().map(|answer| answer.send(done));
        }
    };
    (Arc::new(job), answered)
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send(to: &SyncSender<Job>, job: Job) -> Result<(), Fault> {
    to.try_send(job).map_err(|refused| match refused {
        TrySendError::Full(_) => busy(),
        TrySendError::Disconnected(_) => Fault::internal("hashing"),
    })
}

/// Threads that take jobs from one queue, until nobody can send another.
fn threads(
    name: &str,
    count: usize,
    begin: fn(),
    finished: impl Fn() + Clone + Send + 'static,
) -> std::io::Result<SyncSender<Job>> {
    let (jobs, taken) = mpsc::sync_channel::<Job>(WAITING);
    let taken = Arc::new(Mutex::new(taken));
    for _ in 0..count {
        let (taken, finished) = (taken.clone(), finished.clone());
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            begin();
            while let Some(job) = next(&taken) {
                job();
                finished();
            }
        })?;
    }
    Ok(jobs)
}

fn next(taken: &Mutex<Receiver<Job>>) -> Option<Job> {
    lock(taken).recv().ok()
}

/// Where the system knows no such thing, passwords only take as much as others do.
fn be_idle() {
    #[cfg(target_os = "linux")]
    {
        use thread_priority::{
            NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
            set_thread_priority_and_policy, thread_native_id,
        };
        let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        if let Err(error) =
            set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy)
        {
            tracing::debug!(?error, "passwords do not give way");
        }
    }
}

/// On Linux priority belongs to a thread.
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

    #[tokio::test]
    async fn whoever_waits_for_starved_threads_turns_to_the_other() {
        let passwords = Passwords::new(Duration::from_secs(60)).unwrap();
        let (starve, starved) = mpsc::channel::<()>();
        let starved = Mutex::new(starved);
        let hold: Job = Arc::new(move || assert!(starved.lock().unwrap().recv().is_err()));
        let idle = (thread::available_parallelism().unwrap().get() / 2).max(1);
        (0..idle).for_each(|_| passwords.idle.send(hold.clone()).unwrap());
        let place = passwords.place().unwrap();
        let kept = passwords.hash(&place, secret("correct horse")).await.unwrap();
        assert_eq!(check_now(&secret("correct horse"), Some(&kept)), Checked::Right);
        assert_eq!(passwords.finished.load(Ordering::Relaxed), 0);
        drop(starve);
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
