//! Background work that shutdown awaits. Everything that must outlive the request that began it runs here, on the
//! service's own runtime, or goes there when its request goes away.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Spawns tasks and waits for them at the end.
#[derive(Clone, Debug)]
pub struct Tasks {
    runtime: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Tasks of the current runtime.
    pub fn new() -> Self {
        Self {
            runtime: Handle::current(),
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Runs `task` to its end, whatever becomes of the caller.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.tracker.spawn_on(task, &self.runtime)
    }

    /// Runs `task` where this is awaited, which spares it the way to another thread and back; should whoever awaits it go
    /// away, it is run to its end as by `spawn`.
    pub fn see_through<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> SeenThrough<T> {
        let caught = AssertUnwindSafe(task).catch_unwind();
        let task = caught.map(|ended| ended.map_err(Panicked::with)).boxed();
        SeenThrough { task: Some(task), tasks: self.clone(), _awaited: self.tracker.token() }
    }

    /// Says that the service is stopping; loops end at their next turn.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Sleeps, unless the service stops: then false.
    pub async fn pause(&self, duration: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(duration) => true,
        }
    }

    /// Tells all loops to end and waits for everything that runs, at most `limit`. False when some had to be left.
    pub async fn shut_down(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.is_ok()
    }
}

/// A task that panicked.
#[derive(Debug, thiserror::Error)]
#[error("a task panicked: {0}")]
pub struct Panicked(String);

impl Panicked {
    /// With the message of its panic, if that is a text.
    #[expect(clippy::needless_pass_by_value, reason = "what a panic leaves is owned")]
    fn with(payload: Box<dyn Any + Send>) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        Self(text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default())
    }
}

/// A task on its way, see [`Tasks::see_through`].
#[must_use = "it begins when it is awaited, or dropped"]
pub struct SeenThrough<T: Send + 'static> {
    task: Option<BoxFuture<'static, Result<T, Panicked>>>,
    tasks: Tasks,
    /// Shutdown waits for it wherever it runs.
    _awaited: TaskTrackerToken,
}

impl<T: Send + 'static> Future for SeenThrough<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(task) = &mut self.task else { return Poll::Pending };
        let ended = task.poll_unpin(context);
        if ended.is_ready() {
            self.task = None;
        }
        ended
    }
}

impl<T: Send + 'static> Drop for SeenThrough<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            drop(self.tasks.spawn(task));
        }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

/// `duration` give or take a fifth, so that replicas do not march in step.
pub fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.8 + 0.4 * rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_task_ends_where_it_is_awaited_or_by_itself() {
        let tasks = Tasks::new();
        assert_eq!(tasks.see_through(async { 7 }).await.unwrap(), 7);
        let (go, ended) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let task = {
            let (go, ended) = (go.clone(), ended.clone());
            async move {
                go.notified().await;
                ended.store(true, Ordering::Relaxed);
            }
        };
        let mut waiting = tasks.see_through(task);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(waiting);
        go.notify_one();
        assert!(tasks.shut_down(Duration::from_secs(60)).await);
        assert!(ended.load(Ordering::Relaxed), "nobody awaited it any more");
    }

    #[tokio::test]
    async fn shutdown_waits_for_what_is_awaited_elsewhere() {
        let tasks = Tasks::new();
        let mut waiting = tasks.see_through(std::future::pending::<()>());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert!(!tasks.shut_down(Duration::ZERO).await);
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let tasks = Tasks::new();
        let panicking = tasks.see_through(async { panic!("on purpose") });
        let answer: Result<(), Panicked> = panicking.await;
        assert_eq!(answer.unwrap_err().to_string(), "a task panicked: on purpose");
        assert!(tasks.shut_down(Duration::from_secs(60)).await);
    }
}
