//! `acgs routes`: where requests for a model go, and who routes them.

use std::process::ExitCode;

use acgs_contracts::lifecycle::v1::{
    CaptureLoss, EndpointChange, GetRoutesRequest, ListRoutersRequest, ModelRoutes, SetEndpointsRequest,
};
use acgs_server::Settings;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde_json::{Value, json};

use super::models::Caller;
use acgs_console::connect::{explain, wish};

/// Look at where requests go, and who routes them.
#[derive(Debug, Args)]
pub struct RoutesCommand {
    #[command(flatten)]
    caller: Caller,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Who routes, and which routes each has confirmed; the default.
    Routers,
    /// Where requests for a model go.
    Show {
        /// The model.
        model: String,
    },
    /// Say where a version answers.
    Endpoints {
        /// The model.
        model: String,
        /// The version.
        version: String,
        /// host:port, all of them.
        endpoints: Vec<String>,
        /// These too, and not only these.
        #[arg(long)]
        add: bool,
        /// These no more.
        #[arg(long, conflicts_with = "add")]
        remove: bool,
    },
}

fn as_json(routes: &ModelRoutes) -> Value {
    let shares: Vec<Value> = routes
        .shares
        .iter()
        .map(|share| json!({ "version": share.version, "weight": share.weight }))
        .collect();
    let endpoints: serde_json::Map<String, Value> =
        routes.endpoints.iter().map(|known| (known.version.clone(), json!(known.endpoints))).collect();
    json!({
        "model_id": routes.model_id, "epoch": routes.epoch, "shares": shares,
        "shadow": routes.shadow.as_ref().map(|share| json!({ "version": share.version, "percent": share.weight })),
        "deployment_id": routes.deployment_id, "candidate": routes.candidate, "sticky_by": routes.sticky_by,
        "endpoints": endpoints,
    })
}

fn lost(loss: &CaptureLoss) -> Value {
    json!({
        "model_id": loss.model_id, "version": loss.version, "reason": loss.reason, "calls": loss.calls,
        "detail": loss.detail,
    })
}

impl RoutesCommand {
    /// Does what is asked.
    ///
    /// # Errors
    /// When the orchestrator does not answer, or refuses.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let mut client = self.caller.client(&settings).await?;
        let told = |status: tonic::Status| explain(&status);
        match self.what.clone().unwrap_or(What::Routers) {
            What::Routers => {
                let answer =
                    client.routing.list_routers(ListRoutersRequest {}).await.map_err(told)?.into_inner();
                if self.caller.json {
                    for router in &answer.routers {
                        let applied: serde_json::Map<String, Value> = router
                            .applied
                            .iter()
                            .map(|route| (route.model_id.clone(), route.epoch.into()))
                            .collect();
                        let line = json!({
                            "router_id": router.router_id, "connected_at": router.connected_at,
                            "silent_ms": router.silent_ms, "applied": applied,
                            "captures_lost": router.captures_lost.iter().map(lost).collect::<Vec<_>>(),
                        });
                        println!("{line}");
                    }
                    return Ok(ExitCode::SUCCESS);
                }
                if answer.routers.is_empty() {
                    println!("nobody routes; `acgs serve gateway` does");
                    return Ok(ExitCode::SUCCESS);
                }
                let mut table = Table::new();
                table.load_style(UTF8_FULL_CONDENSED);
                table.set_header(["router", "connected", "silent", "confirmed"]);
                for router in answer.routers {
                    let applied: Vec<String> = router
                        .applied
                        .iter()
                        .map(|route| format!("{} epoch {}", route.model_id, route.epoch))
                        .collect();
                    let silent = format!("{} ms", router.silent_ms);
                    table.add_row([router.router_id, router.connected_at, silent, applied.join("\n")]);
                }
                println!("{table}");
            }
            What::Show { model } => {
                let request = GetRoutesRequest { model_id: model };
                let routes = client.routing.get_routes(request).await.map_err(told)?.into_inner().routes;
                self.print(&routes.unwrap_or_default());
            }
            What::Endpoints { model, version, endpoints, add, remove } => {
                let change = match (add, remove) {
                    (true, _) => EndpointChange::Add,
                    (_, true) => EndpointChange::Remove,
                    _ => EndpointChange::Unspecified,
                };
                let request = SetEndpointsRequest {
                    model_id: model.clone(),
                    version,
                    endpoints,
                    change: change.into(),
                    actor: self.caller.by.clone(),
                    request_id: wish(),
                };
                client.routing.set_endpoints(request).await.map_err(told)?;
                let request = GetRoutesRequest { model_id: model };
                let routes = client.routing.get_routes(request).await.map_err(told)?.into_inner().routes;
                self.print(&routes.unwrap_or_default());
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, routes: &ModelRoutes) {
        if self.caller.json {
            println!("{}", as_json(routes));
            return;
        }
        println!("{}, epoch {}", routes.model_id, routes.epoch);
        let endpoints = |version: &str| {
            let known = routes.endpoints.iter().find(|known| known.version == version);
            known.map(|known| known.endpoints.join(", ")).unwrap_or_default()
        };
        for share in &routes.shares {
            println!("  {:>3} %  {:<12} {}", share.weight, share.version, endpoints(&share.version));
        }
        if let Some(shadow) = &routes.shadow {
            println!(
                "  copies of {} %  {:<12} {}",
                shadow.weight,
                shadow.version,
                endpoints(&shadow.version)
            );
        }
        let named = |version: &str| routes.shares.iter().any(|share| share.version == version);
        for known in routes.endpoints.iter().filter(|known| !named(&known.version)) {
            println!("   warm  {:<12} {}", known.version, known.endpoints.join(", "));
        }
        if !routes.deployment_id.is_empty() {
            println!("  {} deploys {}", routes.deployment_id, routes.candidate);
        }
    }
}
