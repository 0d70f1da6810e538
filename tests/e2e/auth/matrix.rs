//! Who may do what: every cell is tried on a nats-server by a plain client. Whoever is not named in a
//! row must be refused, and whoever is named must not be.

use std::fs;
use std::process::Command;

use dsbus_harness::NatsServer;

use super::wire::Wire;
use crate::fleet::{DSBUS, said};

/// Users, by the letter that stands for them in the table. `r` is an operator who may start and stop;
/// `W` is the worker w2, where event listeners may run.
const USERS: [(char, &str); 9] = [
    ('s', "scheduler"),
    ('g', "gateway"),
    ('v', "viewer"),
    ('o', "ann"),
    ('r', "rita"),
    ('w', "w1"),
    ('W', "w2"),
    ('l', "audit"),
    ('a', "alert"),
];

/// What is published (`>`) or subscribed to (`<`), and who may.
const TABLE: &str = "
# declarations, goals, placements, touches
> $KV.dsbus_programs.web                                             : s
> $KV.dsbus_goals.web._all                                           : s
> $KV.dsbus_goals.web.0                                              : s
> $KV.dsbus_goals._worker.w1                                         : s
> $KV.dsbus_fleet.w1.web.0                                           : s
> $KV.dsbus_fleet.w2.web.0                                           : s
> $KV.dsbus_fleet.w1._touch.5                                        : sw
> $KV.dsbus_fleet.w2._touch.5                                        : sW
> $KV.dsbus_fleet.w1._touch.5.6                                      : s
> $KV.dsbus_fleet._scheduler.s1                                      : s
> $KV.dsbus_workers.w1                                               : sw
> $KV.dsbus_workers.w2                                               : sW
> $KV.dsbus_status.w1.web.0                                          : sw
> $KV.dsbus_status.w2.web.0                                          : sW
> $KV.dsbus_status._fleet.web.0                                      : s
> $KV.dsbus_status._group.shop                                       : s
> $KV.dsbus_alerts.alert.lease                                       : oa
> $KV.dsbus_alerts.other.lease                                       : o
> $KV.dsbus_secrets.w1.token                                         : o
> $KV.dsbus_secrets.w2.token                                         : o
> $KV.dsbus_other_programs.web                                       :
> $KV.foreign.key                                                    :
# events: one's own, and those of others
> dsbus.default.event.w1.process.web.0.RUNNING                       : w
> dsbus.default.event.w2.process.web.0.RUNNING                       : W
> dsbus.default.event.w1.output.web.0.OUTPUT                         : w
> dsbus.default.event.w1.worker._._.LOST                             : w
> dsbus.default.event._fleet.worker._._.LOST                         : s
> dsbus.default.event._fleet.placement.web.0.PLACED                  : s
> dsbus.default.event._fleet.command.web.ann.ACCEPTED                : s
> dsbus.default.event._user.user._.ann.deployed                      : go
> dsbus.default.event._user.user._.rita.deployed                     : g
> dsbus.default.event._user.user._.viewer.deployed                   : g
> dsbus.default.event._user.process.web.0.RUNNING                    :
> dsbus.default.event._listener.listener.alert._.DROPPED             : aW
> dsbus.default.event._listener.listener.audit._.DROPPED             : W
> dsbus.other.event.w1.process.web.0.RUNNING                         :
# commands, under one's own name and others'
> dsbus.default.cmd.ann.apply                                        : go
> dsbus.default.cmd.ann.remove                                       : go
> dsbus.default.cmd.ann.status                                       : go
> dsbus.default.cmd.rita.start                                       : gr
> dsbus.default.cmd.rita.stop                                        : gr
> dsbus.default.cmd.rita.restart                                     : g
> dsbus.default.cmd.rita.apply                                       : g
> dsbus.default.cmd.rita.status                                      : gr
> dsbus.default.cmd.viewer.status                                    : gv
> dsbus.default.cmd.viewer.workers                                   : gv
> dsbus.default.cmd.viewer.explain                                   : gv
> dsbus.default.cmd.viewer.history                                   : gv
> dsbus.default.cmd.viewer.stop                                      : g
> dsbus.default.cmd.viewer.apply                                     : g
> dsbus.default.cmd.w1.status                                        : g
> dsbus.default.cmd.scheduler.stop                                   : g
> dsbus.default.cmd.ann.fly                                          :
> dsbus.default.cmdall.ann.stop                                      : go
> dsbus.default.cmdall.rita.stop                                     : gr
> dsbus.default.cmdall.rita.remove                                   : g
> dsbus.default.cmdall.viewer.status                                 : gv
> dsbus.default.cmdall.viewer.stop                                   : g
> dsbus.other.cmd.ann.stop                                           :
# calls to workers
> dsbus.default.worker.w1.ping                                       : sgvorw
> dsbus.default.worker.w2.ping                                       : sgvorW
> dsbus.default.worker.w1.log                                        : gvor
> dsbus.default.worker.w1.log-bulk                                   : gvor
> dsbus.default.worker.w1.log-window                                 : gvor
> dsbus.default.worker.w1.usage                                      : gvor
> dsbus.default.worker.w1.clear                                      : go
> dsbus.default.worker.w1.signal                                     : go
> dsbus.default.worker.w1.stdin                                      : go
> dsbus.other.worker.w1.signal                                       :
# streams
> $JS.API.INFO                                                       : sgvor
> $JS.API.STREAM.INFO.KV_dsbus_programs                              : sgvorwWla
> $JS.API.STREAM.INFO.DSBUS_EVENTS                                   : sgvorwWla
> $JS.API.STREAM.INFO.foreign                                        :
> $JS.API.STREAM.CREATE.KV_dsbus_programs                            : s
> $JS.API.STREAM.CREATE.foreign                                      :
> $JS.API.STREAM.UPDATE.KV_dsbus_fleet                               : s
> $JS.API.STREAM.UPDATE.foreign                                      :
> $JS.API.STREAM.DELETE.KV_dsbus_fleet                               :
> $JS.API.STREAM.PURGE.KV_dsbus_fleet                                :
> $JS.API.STREAM.PURGE.DSBUS_EVENTS                                  :
> $JS.API.STREAM.MSG.DELETE.DSBUS_EVENTS                             :
> $JS.API.STREAM.LIST                                                :
> $JS.API.STREAM.NAMES                                               :
> $JS.API.STREAM.SNAPSHOT.KV_dsbus_programs                          :
> $JS.API.STREAM.RESTORE.KV_dsbus_programs                           :
> $JS.API.STREAM.LEADER.STEPDOWN.KV_dsbus_fleet                      :
> $JS.API.STREAM.PEER.REMOVE.KV_dsbus_fleet                          :
> $JS.API.META.LEADER.STEPDOWN                                       :
> $JS.API.ACCOUNT.PURGE.$G                                           :
# single messages
> $JS.API.STREAM.MSG.GET.KV_dsbus_programs                           : so
> $JS.API.STREAM.MSG.GET.KV_dsbus_goals                              : s
> $JS.API.STREAM.MSG.GET.KV_dsbus_fleet                              : s
> $JS.API.STREAM.MSG.GET.KV_dsbus_workers                            : sgvor
> $JS.API.STREAM.MSG.GET.KV_dsbus_status                             : sgvorwW
> $JS.API.STREAM.MSG.GET.KV_dsbus_alerts                             : oa
> $JS.API.STREAM.MSG.GET.KV_dsbus_secrets                            : o
> $JS.API.STREAM.MSG.GET.DSBUS_EVENTS                                : sgvorawW
> $JS.API.DIRECT.GET.KV_dsbus_programs                               :
> $JS.API.DIRECT.GET.KV_dsbus_programs.$KV.dsbus_programs.web        :
> $JS.API.DIRECT.GET.KV_dsbus_fleet                                  :
> $JS.API.DIRECT.GET.KV_dsbus_fleet.$KV.dsbus_fleet.w1.web.0         :
> $JS.API.DIRECT.GET.KV_dsbus_fleet.$KV.dsbus_fleet.w2.web.0         :
> $JS.API.DIRECT.GET.KV_dsbus_secrets                                :
> $JS.API.DIRECT.GET.KV_dsbus_secrets.$KV.dsbus_secrets.w1.token     :
> $JS.API.DIRECT.GET.KV_dsbus_secrets.$KV.dsbus_secrets.w2.token     :
> $JS.API.DIRECT.GET.DSBUS_EVENTS                                    :
> $JS.API.DIRECT.GET.DSBUS_EVENTS.dsbus.default.event.w1.process.web.0.* :
> $JS.API.DIRECT.GET.DSBUS_EVENTS.dsbus.default.event.w2.process.web.0.* :
# consumers: without a name, with several filters (which are in the body alone), named
> $JS.API.CONSUMER.CREATE.KV_dsbus_fleet                             :
> $JS.API.CONSUMER.CREATE.KV_dsbus_fleet.x                           :
> $JS.API.CONSUMER.DURABLE.CREATE.KV_dsbus_fleet.x                   :
> $JS.API.CONSUMER.CREATE.KV_dsbus_fleet.x.$KV.dsbus_fleet.>         : so
> $JS.API.CONSUMER.CREATE.KV_dsbus_fleet.x.$KV.dsbus_fleet.w1.>      : sow
> $JS.API.CONSUMER.CREATE.KV_dsbus_fleet.x.$KV.dsbus_fleet.w2.>      : soW
> $JS.API.CONSUMER.CREATE.KV_dsbus_fleet.x.$KV.dsbus_fleet.*.web.0   : so
> $JS.API.CONSUMER.CREATE.KV_dsbus_programs.x.$KV.dsbus_programs.>   : sgo
> $JS.API.CONSUMER.CREATE.KV_dsbus_programs.x.$KV.dsbus_programs.web : sgo
> $JS.API.CONSUMER.CREATE.KV_dsbus_goals.x.$KV.dsbus_goals.>         : s
> $JS.API.CONSUMER.CREATE.KV_dsbus_status.x.$KV.dsbus_status.>       : sgvor
> $JS.API.CONSUMER.CREATE.KV_dsbus_workers.x.$KV.dsbus_workers.>     : sgvor
> $JS.API.CONSUMER.CREATE.KV_dsbus_alerts.x.$KV.dsbus_alerts.>       : o
> $JS.API.CONSUMER.CREATE.KV_dsbus_alerts.x.$KV.dsbus_alerts.alert.> : oa
> $JS.API.CONSUMER.CREATE.KV_dsbus_secrets.x.$KV.dsbus_secrets.>     : o
> $JS.API.CONSUMER.CREATE.KV_dsbus_secrets.x.$KV.dsbus_secrets.w1.>  : ow
> $JS.API.CONSUMER.CREATE.KV_dsbus_secrets.x.$KV.dsbus_secrets.w2.>  : oW
> $JS.API.CONSUMER.CREATE.DSBUS_EVENTS                               :
> $JS.API.CONSUMER.CREATE.DSBUS_EVENTS.x                             :
> $JS.API.CONSUMER.CREATE.DSBUS_EVENTS.x.dsbus.default.event.>       : gvorW
> $JS.API.CONSUMER.CREATE.DSBUS_EVENTS.x.dsbus.default.event._fleet.> : sgvorW
> $JS.API.CONSUMER.CREATE.DSBUS_EVENTS.x.dsbus.default.event.w1.>    : gvorW
> $JS.API.CONSUMER.CREATE.DSBUS_EVENTS.audit.dsbus.default.event.>   :
> $JS.API.CONSUMER.CREATE.DSBUS_EVENTS.audit.dsbus.default.event.*.process.> : l
> $JS.API.CONSUMER.CREATE.DSBUS_EVENTS.audit.dsbus.default.event.*.process.*.*.FATAL : l
> $JS.API.CONSUMER.CREATE.DSBUS_EVENTS.audit.dsbus.default.event.*.output.> :
> $JS.API.CONSUMER.CREATE.DSBUS_EVENTS.x.dsbus.default.event.*.process.> : gvorW
> $JS.API.CONSUMER.CREATE.DSBUS_EVENTS.alert-alert.dsbus.default.event.> : a
> $JS.API.CONSUMER.INFO.DSBUS_EVENTS.audit                           : gvorl
> $JS.API.CONSUMER.INFO.DSBUS_EVENTS.x                               : gvorW
> $JS.API.CONSUMER.LIST.DSBUS_EVENTS                                 : gvor
> $JS.API.CONSUMER.NAMES.DSBUS_EVENTS                                :
> $JS.API.CONSUMER.MSG.NEXT.DSBUS_EVENTS.audit                       : l
> $JS.API.CONSUMER.MSG.NEXT.DSBUS_EVENTS.x                           : W
> $JS.API.CONSUMER.UNPIN.DSBUS_EVENTS.audit                          : l
> $JS.API.CONSUMER.DELETE.DSBUS_EVENTS.audit                         : sol
> $JS.API.CONSUMER.DELETE.DSBUS_EVENTS.x                             : soW
> $JS.API.CONSUMER.PAUSE.DSBUS_EVENTS.audit                          :
> $JS.API.CONSUMER.LEADER.STEPDOWN.DSBUS_EVENTS.audit                :
> $JS.API.CONSUMER.INFO.KV_dsbus_fleet.x                             :
> $JS.API.CONSUMER.LIST.KV_dsbus_fleet                               :
> $JS.API.CONSUMER.NAMES.KV_dsbus_fleet                              :
> $JS.API.CONSUMER.MSG.NEXT.KV_dsbus_fleet.x                         :
> $JS.API.CONSUMER.DELETE.KV_dsbus_fleet.x                           :
> $JS.ACK.DSBUS_EVENTS.audit.1.1.1.1.1                               : l
> $JS.ACK.DSBUS_EVENTS.x.1.1.1.1.1                                   : W
> $JS.ACK.KV_dsbus_fleet.x.1.1.1.1.1                                 :
> $JS.FC.KV_dsbus_fleet.x.y                                          : sowW
> $JS.FC.KV_dsbus_programs.x.y                                       : sgo
> $JS.FC.DSBUS_EVENTS.x.y                                            : sgvorW
# the server, services, inboxes
> $SYS.REQ.USER.INFO                                                 : sgvorwWla
> $SYS.REQ.SERVER.PING                                               :
> $SYS.REQ.ACCOUNT.$G.CONNZ                                          :
> $SRV.INFO                                                          : gvor
> $SRV.STATS.dsbus                                                   : gvor
> $SRV.STATS.dsbus-worker                                            : gvor
> $SRV.STATS                                                         :
> _INBOX.x                                                           : swW
> _INBOX.operator.ann.x                                              : swW
> anything                                                           :
< >                                                                  :
< *                                                                  :
< _INBOX.>                                                           :
< _INBOX.scheduler.scheduler.>                                       : s
< _INBOX.gateway.gateway.>                                           : g
< _INBOX.viewer.viewer.>                                             : v
< _INBOX.operator.ann.>                                              : o
< _INBOX.operator.rita.>                                             : r
< _INBOX.worker.w1.>                                                 : w
< _INBOX.worker.w2.>                                                 : W
< _INBOX.listener.audit.>                                            : l
< _INBOX.alert.alert.>                                               : a
< dsbus.>                                                            :
< dsbus.default.cmd.>                                                :
< dsbus.default.cmd.*.apply                                          : s
< dsbus.default.cmd.ann.apply                                        : s
< dsbus.default.cmdall.*.*                                           : s
< dsbus.default.worker.>                                             :
< dsbus.default.worker.w1.ping                                       : w
< dsbus.default.worker.w1.stdin                                      : w
< dsbus.default.worker.w2.stdin                                      : W
< dsbus.default.event.>                                              : gvor
< dsbus.default.event.w1.>                                           : gvor
< $KV.>                                                              :
< $KV.dsbus_fleet.>                                                  :
< $KV.dsbus_fleet.w1.>                                               :
< $KV.dsbus_secrets.w1.>                                             :
< $JS.>                                                              :
< $JS.API.>                                                          :
< $JS.ACK.>                                                          :
< $JS.EVENT.ADVISORY.>                                               :
< $SYS.>                                                             :
< $SYS.ACCOUNT.*.CONNECT                                             :
< $SRV.>                                                             :
< $SRV.PING                                                          : swW
< $SRV.STATS.dsbus                                                   : s
< $SRV.STATS.dsbus-worker                                            : wW
< anything                                                           :
";

/// What nobody may say by way of an answer.
const NO_ANSWERS: [&str; 6] = [
    "$KV.dsbus_programs.evil",
    "$KV.dsbus_fleet.w2.web.0",
    "dsbus.default.cmd.admin.apply",
    "dsbus.default.event._fleet.command.web.admin.ACCEPTED",
    "$JS.API.STREAM.DELETE.KV_dsbus_fleet",
    "$JS.API.CONSUMER.CREATE.DSBUS_EVENTS.audit.>",
];

#[test]
fn every_cell_of_who_may_do_what() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("auth");
    let auth = |args: &[&str]| {
        let mut command = Command::new(DSBUS);
        let output = command.arg("auth").args(args).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    };
    let dir = at.to_str().unwrap();
    auth(&["init", dir, "--workers", "w1"]);
    auth(&["add", "worker", "w2", "--listeners", "--dir", dir]);
    auth(&["add", "operator", "ann", "--dir", dir]);
    auth(&["add", "operator", "rita", "--verbs", "start,stop", "--dir", dir]);
    auth(&["add", "listener", "audit", "--events", "process.*", "--dir", dir]);
    let users = fs::read_to_string(at.join("nats/users.conf")).unwrap();
    let server = NatsServer::start_with(&format!("authorization {{\n{users}\n}}\n"));
    let mut wires: Vec<(char, &str, Wire)> = USERS
        .iter()
        .map(|(letter, user)| {
            let seed = fs::read_to_string(at.join("users").join(user).join("seed.nk")).unwrap();
            let seed = seed.lines().find(|line| line.starts_with("SU")).unwrap().to_owned();
            (*letter, *user, Wire::connect(server.port(), &seed))
        })
        .collect();
    let rows = TABLE.lines().filter(|line| line.starts_with(['>', '<']));
    let (mut wrong, mut cells, mut refused) = (Vec::new(), 0, 0);
    for row in rows {
        let (what, who) = row.rsplit_once(':').unwrap();
        let (way, subject) = what.trim().split_once(' ').unwrap();
        for (letter, user, wire) in &mut wires {
            let wanted = who.contains(*letter);
            let may = match way {
                ">" => wire.may_publish(subject),
                _ => wire.may_subscribe(subject),
            };
            (cells, refused) = (cells + 1, refused + usize::from(!may));
            if may != wanted {
                wrong.push(format!("{user} may{}: {way} {subject}", if may { "" } else { " not" }));
            }
        }
    }
    // Whoever may ask himself something could say anything to anybody, were answers permitted as such.
    for (_, user, wire) in wires.iter_mut().filter(|(letter, ..)| "wW".contains(*letter)) {
        let itself = format!("dsbus.default.worker.{user}.ping");
        for reply in NO_ANSWERS {
            assert!(!wire.may_answer(&itself, reply), "{user} answers to {reply}");
        }
        assert!(wire.may_answer(&itself, "_INBOX.scheduler.scheduler.x"), "{user} answers pings");
    }
    assert!(wrong.is_empty(), "{} of {cells} cells are not so:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cells > 1000 && refused > 1000, "{cells} cells, of which {refused} were refused");
}
