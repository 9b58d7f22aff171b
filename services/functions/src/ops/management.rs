//! What a function's runtime, loops and code signing are: GetRuntimeManagementConfig, PutRuntimeManagementConfig,
//! GetFunctionRecursionConfig, PutFunctionRecursionConfig, GetFunctionCodeSigningConfig.

use crate::{
    Error, Functions,
    api::{
        CodeSigningConfig, FunctionRequest, PutRecursionRequest, PutRuntimeManagementRequest,
        QualifiedRequest, RecursionConfig, RuntimeManagementConfig,
    },
    asking, data,
    logic::{
        names::{self, Form},
        recursion::RecursiveLoop,
    },
    model::{FunctionId, Target},
};
use base::Version;
use wire::{Context, Violations};

impl Functions {
    pub(crate) async fn get_runtime_management_config(
        &self,
        context: &Context,
        input: QualifiedRequest,
    ) -> Result<RuntimeManagementConfig, Error> {
        let (name, qualifier) = (input.function_name.as_str(), input.qualifier.as_deref());
        let target = asking(context, "lambda:GetRuntimeManagementConfig", |asker| {
            names::target(asker, name, qualifier, Form::Namespaced)
        })?;
        self.runtime_management(target).await
    }

    pub(crate) async fn put_runtime_management_config(
        &self,
        context: &Context,
        input: PutRuntimeManagementRequest,
    ) -> Result<RuntimeManagementConfig, Error> {
        let (name, qualifier) = (input.function_name.as_str(), input.qualifier.as_deref());
        let target = asking(context, "lambda:PutRuntimeManagementConfig", |asker| {
            names::target(asker, name, qualifier, Form::Namespaced)
        })?;
        let mut violations = Violations::default();
        match input.update_runtime_on.as_str() {
            "Auto" if input.runtime_version_arn.is_none() => {}
            "Auto" | "FunctionUpdate" | "Manual" => {
                return Err(Error::Unsupported {
                    member: "UpdateRuntimeOn",
                    reason: "functions run on the interpreters of the host and are updated with them; only Auto, without RuntimeVersionArn, is true",
                });
            }
            other => violations.one_of("updateRuntimeOn", other, &["Auto", "FunctionUpdate", "Manual"]),
        }
        if !violations.is_empty() {
            return Err(Error::Constraints(violations.to_string()));
        }
        self.runtime_management(target).await
    }

    async fn runtime_management(&self, target: Target) -> Result<RuntimeManagementConfig, Error> {
        let arn = target.id.qualified_arn(target.version().unwrap_or(Version::Latest));
        self.find(target).await?;
        Ok(RuntimeManagementConfig { update_runtime_on: "Auto", function_arn: arn })
    }

    pub(crate) async fn get_function_recursion_config(
        &self,
        context: &Context,
        input: FunctionRequest,
    ) -> Result<RecursionConfig, Error> {
        let id = owner(context, "lambda:GetFunctionRecursionConfig", &input.function_name)?;
        let rule = self
            .db
            .read(move |tx| {
                data::function(tx, &id)?.ok_or_else(|| Error::NotFound(id.arn()))?;
                data::config::<RecursiveLoop>(tx, &id, &Version::Latest.to_string())
            })
            .await?;
        Ok(RecursionConfig { recursive_loop: rule.unwrap_or_default().as_str() })
    }

    pub(crate) async fn put_function_recursion_config(
        &self,
        context: &Context,
        input: PutRecursionRequest,
    ) -> Result<RecursionConfig, Error> {
        let id = owner(context, "lambda:PutFunctionRecursionConfig", &input.function_name)?;
        let rules = [RecursiveLoop::Allow, RecursiveLoop::Terminate];
        let Some(rule) = rules.into_iter().find(|rule| rule.as_str() == input.recursive_loop) else {
            let mut violations = Violations::default();
            violations.one_of("recursiveLoop", &input.recursive_loop, &["Allow", "Terminate"]);
            return Err(Error::Constraints(violations.to_string()));
        };
        let changed = id.clone();
        self.db
            .write(move |tx| {
                data::function(tx, &id)?.ok_or_else(|| Error::NotFound(id.arn()))?;
                data::put_config(tx, &id, &Version::Latest.to_string(), &rule)
            })
            .await?;
        self.specs.invalidate(&changed);
        Ok(RecursionConfig { recursive_loop: rule.as_str() })
    }

    /// No function has a code signing configuration: they are refused. Tools ask all the same.
    pub(crate) async fn get_function_code_signing_config(
        &self,
        context: &Context,
        input: FunctionRequest,
    ) -> Result<CodeSigningConfig, Error> {
        let id = owner(context, "lambda:GetFunctionCodeSigningConfig", &input.function_name)?;
        let name = id.name.to_string();
        self.find(Target { id, qualifier: None }).await?;
        Ok(CodeSigningConfig { code_signing_config_arn: "", function_name: name })
    }
}

fn owner(context: &Context, action: &'static str, name: &str) -> Result<FunctionId, Error> {
    asking(context, action, |asker| names::unqualified(asker, name, Form::Plain))
}
