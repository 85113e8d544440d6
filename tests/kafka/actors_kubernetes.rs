//! The autoscaler as a whole, where Kubernetes itself has a say: owners, rivals, zombies, API servers that die. On the
//! simulated API, and the same on a real one beside `tests/kubernetes/run`; there it has the rights of
//! `deploy/kubernetes.yaml` and no others.
//!
//! Processes stand still between intent and write (`OPS_FREEZE_AT`) until the world is another one:
//!
//! ```text
//! ops.actions:  started#1 C                    done#1 C | failed#1 C
//!                           ^ stands still   ^ goes on
//! ```

use hms_ops::model::action::{ActionEvent, ActionKind};
use hms_ops::torture::{Point, Sabotage};
use hms_ops::world::kubernetes::Options;
use tokio::runtime::Runtime;

use crate::actors::{Scaling, Stage, opened, requested, scale_up, story};
use crate::kubernetes::apiserver::ApiServer;
use crate::kubernetes::proxy::{Mode, Proxy};
use crate::kubernetes::{Kubernetes, real};
use crate::rig::effects::faults::wait_until_refused;
use crate::rig::effects::{Effects, Flaw, Kind, action};
use crate::rig::fleet::Ops;

/// Asks for `scale_up` in vain: says what became of it.
fn refused(scaling: &Scaling) -> Vec<String> {
    let stage = &scaling.stage;
    stage.settled_before(0);
    let actor = scaling.start();
    stage.tell(&[opened(1, false), scale_up(1)]);
    let seen = story(&stage.outcomes(1));
    actor.stop().unwrap();
    seen
}

#[test]
fn a_workload_that_an_autoscaler_owns_is_left_alone() {
    let scaling = Scaling::new(Stage::new(1));
    scaling.stage.runtime.block_on(scaling.cluster.add_autoscaler("of-the-scanner", "scanner"));
    assert_eq!(refused(&scaling), ["scale_up suppressed managed_by_hpa #1"]);
    assert!(scaling.writes().is_empty());
}

#[test]
fn a_scale_down_lowers() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    stage.settled_before(0);
    let actor = scaling.start();
    stage.tell(&[opened(1, false), requested(1, 1, "scale_down", &[("compute", "-1")])]);
    assert_eq!(story(&stage.outcomes(1)), ["scale_down started #1", "scale_down done #1"]);
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 1)]);
}

#[test]
fn a_stateful_set_is_scaled_too() {
    let scaling = Scaling::new(Stage::new(1));
    let (stage, cluster) = (&scaling.stage, &scaling.cluster);
    stage.runtime.block_on(async {
        cluster.create("StatefulSet", "store", 1).await;
        cluster.wait_until_ready("store", 1).await;
    });
    stage.settled_before(0);
    let actor = scaling.start();
    let store = [("compute", "+2"), ("workload.kind", "statefulset"), ("workload.name", "store")];
    stage.tell(&[opened(1, false), requested(1, 1, "scale_up", &store)]);
    assert_eq!(story(&stage.outcomes(1)), ["scale_up started #1", "scale_up done #1"]);
    actor.stop().unwrap();
    stage.runtime.block_on(cluster.wait_until_ready("store", 3));
}

/// `opened requested | started` and a crash; meanwhile the Deployment is made again, as it was, with another uid.
#[test]
fn a_deployment_that_was_made_again_is_not_the_one_that_was_meant() {
    let scaling = Scaling::new(Stage::new(1));
    let (stage, cluster) = (&scaling.stage, &scaling.cluster);
    stage.settled_before(0);
    stage.tell(&[opened(1, false), scale_up(1)]);
    stage.was_written(&scaling.intent());
    stage.runtime.block_on(async {
        cluster.delete("scanner").await;
        cluster.create("Deployment", "scanner", 2).await;
        cluster.wait_until_ready("scanner", 2).await;
    });
    let actor = scaling.start();
    assert_eq!(story(&stage.outcomes(1)), ["scale_up started #1", "scale_up unknown #1"]);
    actor.stop().unwrap();
    assert!(scaling.writes().is_empty());
}

/// A process of the autoscaler, asked by the first service, whose Deployment has 2 replicas.
struct Play {
    effects: Effects,
    kubernetes: Kubernetes,
    runtime: Runtime,
    service: String,
}

impl Play {
    fn new(name: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let effects = Effects::new(name, Kind::Autoscaler);
        let service = effects.services()[0].clone();
        let kubernetes = runtime.block_on(async {
            let kubernetes = Kubernetes::start().await;
            kubernetes.create("Deployment", &service, 2).await;
            kubernetes.wait_until_ready(&service, 2).await;
            kubernetes
        });
        effects.act_on(kubernetes.options());
        Self { effects, kubernetes, runtime, service }
    }

    /// An autoscaler that has written its intent 2 -> 4 and stands still before the write.
    fn about_to_write(&mut self, without: Option<Sabotage>) -> Ops {
        let freezes_at = Some(Point::ActorEffectBegins);
        let mut actor = self.effects.start("one", Flaw { freezes_at, without, ..Flaw::default() });
        self.effects.wait_until_settled().unwrap();
        assert_eq!(self.effects.ask(), self.service);
        self.effects.wait_until_intended(&self.service, 1).unwrap();
        actor.wait_until_frozen();
        actor
    }

    fn by_hand(&self, replicas: u32) {
        self.runtime.block_on(self.kubernetes.scale_by_hand(&self.service, replicas));
    }

    fn outcome(&self) -> ActionKind {
        self.effects.wait_until_done(&self.service).unwrap();
        let is_it = |event: &ActionEvent| event.action_id == action(&self.service) && event.kind.is_outcome();
        self.effects.actions().into_iter().find(is_it).unwrap().kind
    }

    fn writes(&self) -> Vec<(u32, u32)> {
        self.runtime.block_on(self.kubernetes.writes(&self.service))
    }
}

#[test]
fn a_rival_between_intent_and_write_has_his_way() {
    let mut play = Play::new("rival");
    let actor = play.about_to_write(None);
    play.by_hand(7);
    actor.resume();
    let outcome = play.outcome();
    // Refused, and so surely not done; or, if it stood still for so long that it lost its partition, in doubt.
    assert!(matches!(outcome, ActionKind::Failed { .. } | ActionKind::Unknown { .. }), "{outcome:?}");
    assert_eq!(play.writes(), [(2, 7)]);
    actor.kill();
}

#[test]
fn a_conflict_that_is_no_rival_is_read_again_and_written_once() {
    let mut play = Play::new("relabelled");
    let actor = play.about_to_write(None);
    play.runtime.block_on(play.kubernetes.note(&play.service, "labels"));
    actor.resume();
    let outcome = play.outcome();
    assert!(matches!(outcome, ActionKind::Done { .. }), "{outcome:?}");
    assert_eq!(play.writes(), [(2, 4)]);
    actor.kill();
}

/// The write of a zombie is on its way when the zombie stands still. Meanwhile 2 -> 4 by its heir and back to 2 by a
/// person: all is as it was. Then the write arrives. What is written in the end?
fn there_and_back_again(name: &str, without: Option<Sabotage>) -> Vec<(u32, u32)> {
    let mut play = Play::new(name);
    let (proxy, proxied) = play.runtime.block_on(play.kubernetes.behind_a_proxy());
    play.effects.act_on(&proxied);
    let mut zombie = play.about_to_write(without);
    proxy.set(Mode::Hold);
    zombie.resume();
    play.runtime.block_on(proxy.wait_for(|counts| counts.held > 0));
    zombie.suspend();
    play.effects.act_on(play.kubernetes.options());
    let heir = play.effects.start("heir", Flaw::default());
    let outcome = play.outcome();
    assert!(matches!(outcome, ActionKind::Done { .. }), "{outcome:?}");
    play.by_hand(2);
    proxy.set(Mode::Pass);
    play.runtime.block_on(proxy.wait_for(|counts| counts.answered > 0));
    zombie.resume();
    wait_until_refused(&play.effects, &mut zombie).unwrap();
    heir.kill();
    zombie.kill();
    play.writes()
}

#[test]
fn a_zombie_does_nothing_where_all_seems_to_be_as_it_was() {
    assert_eq!(there_and_back_again("aba", None), [(2, 4), (4, 2)]);
}

#[test]
fn a_zombie_that_names_no_version_is_noticed() {
    let writes = there_and_back_again("aba-blind", Some(Sabotage::NoResourceVersion));
    assert_eq!(writes, [(2, 4), (4, 2), (2, 4)]);
}

/// As an API server forbids everything when it has just begun.
#[test]
#[ignore = "needs a real Kubernetes, tests/kubernetes/run"]
fn rights_that_are_missing_for_a_moment_amid_an_action_are_waited_for() {
    assert!(real().is_some(), "needs a real Kubernetes: tests/kubernetes/run");
    let mut play = Play::new("revoked");
    let (proxy, proxied) = play.runtime.block_on(play.kubernetes.behind_a_proxy());
    play.effects.act_on(&proxied);
    let actor = play.about_to_write(None);
    let kubeconfig = play.kubernetes.options().kubeconfig.clone().unwrap();
    let grant = |granted| {
        let account = play.kubernetes.account.as_ref().unwrap();
        play.runtime.block_on(account.grant(&play.kubernetes.client, granted, &kubeconfig));
    };
    grant(false);
    proxy.set(Mode::Hold);
    actor.resume();
    play.runtime.block_on(proxy.wait_for(|counts| counts.held > 0));
    proxy.set(Mode::Pass);
    play.runtime.block_on(proxy.wait_for(|counts| counts.answered > 0));
    grant(true);
    let outcome = play.outcome();
    assert!(matches!(outcome, ActionKind::Done { .. }), "{outcome:?}");
    assert_eq!(play.writes(), [(2, 4)]);
    actor.kill();
}

/// The autoscaler knows only an API server that is killed, `at_once` or after `wait`, and then started again. There is
/// one write, and its outcome is known.
fn killed(name: &str, mode: Mode, at_once: bool, wait: impl AsyncFn(&Proxy, &Play)) {
    assert!(real().is_some(), "needs a real Kubernetes: tests/kubernetes/run");
    let mut play = Play::new(name);
    let kubeconfig = play.kubernetes.scratch().join("mortal");
    let account = play.kubernetes.account.as_ref().unwrap();
    let mut server = play.runtime.block_on(ApiServer::start(account, &kubeconfig));
    play.effects.act_on(&Options { kubeconfig: Some(kubeconfig), ..Options::default() });
    let actor = play.about_to_write(None);
    server.proxy.set(mode);
    if at_once {
        server.kill();
    }
    actor.resume();
    play.runtime.block_on(wait(&server.proxy, &play));
    server.kill();
    server.proxy.set(Mode::Pass);
    play.runtime.block_on(server.run());
    let outcome = play.outcome();
    assert!(matches!(outcome, ActionKind::Done { .. }), "{outcome:?}");
    assert_eq!(play.writes(), [(2, 4)]);
    actor.kill();
}

#[test]
#[ignore = "needs a real Kubernetes, tests/kubernetes/run"]
fn an_api_server_killed_before_the_write_is_waited_for() {
    killed("before", Mode::Pass, true, async |proxy, _| proxy.wait_for(|counts| counts.missed > 0).await);
}

#[test]
#[ignore = "needs a real Kubernetes, tests/kubernetes/run"]
fn an_api_server_killed_while_it_reads_the_write_is_asked_again() {
    killed("during", Mode::CutRequests(40), false, async |proxy, _| proxy.wait_for(|counts| counts.cut > 0).await);
}

/// It has written and its answer is lost: whoever looks again finds the goal reached.
#[test]
#[ignore = "needs a real Kubernetes, tests/kubernetes/run"]
fn an_api_server_killed_after_the_write_has_done_it_once() {
    let written = async |_: &Proxy, play: &Play| play.kubernetes.wait_until_ready(&play.service, 4).await;
    killed("after", Mode::LoseAnswers, false, written);
}
