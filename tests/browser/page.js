// Script of the page: calls Keyward, which has another origin, with Connect's client for gRPC-Web and
// with `fetch`, and reports the parts of the responses that a page can read.

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
} from "./generated/google/rpc/error_details_pb.js";
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "./generated/grpc/health/v1/health_pb.js";
import { ApiKeyService } from "./generated/keyward/v1/api_key_pb.js";
import { ManagementKeyService } from "./generated/keyward/v1/management_key_pb.js";
import { RepoAiKeyService } from "./generated/keyward/v1/repo_ai_key_pb.js";

const SERVICES = { ApiKeyService, Health, ManagementKeyService, RepoAiKeyService };

function client(service, url) {
  return createClient(SERVICES[service], createGrpcWebTransport({ baseUrl: url }));
}

/** Headers of the answer that the page can read. */
const headersOf = (headers) => Object.fromEntries(headers.entries());

/** Numbers of 64 bits become texts, since the test gets everything as JSON. */
const plain = (value) =>
  JSON.parse(JSON.stringify(value, (_, member) => (typeof member === "bigint" ? `${member}` : member)));

/** An error of gRPC with its details. */
function failure(error) {
  const { code, rawMessage, metadata } = ConnectError.from(error);
  const found = (schema) => plain(ConnectError.from(error).findDetails(schema));
  return {
    code: Code[code],
    message: rawMessage,
    headers: headersOf(metadata),
    errorInfo: found(ErrorInfoSchema).map(({ reason, domain }) => ({ reason, domain })),
    badRequest: found(BadRequestSchema).flatMap(({ fieldViolations }) =>
      fieldViolations.map(({ field, description }) => ({ field, description })),
    ),
    preconditions: found(PreconditionFailureSchema).flatMap(({ violations }) =>
      violations.map(({ type, subject, description }) => ({ type, subject, description })),
    ),
  };
}

/** Calls a method over gRPC-Web. */
async function call({ url, service, method, request = {}, token, headers = {} }) {
  let received;
  const authorization = token ? { authorization: `Bearer ${token}` } : {};
  try {
    const message = await client(service, url)[method](request, {
      headers: { ...authorization, ...headers },
      onHeader: (headers) => (received = headersOf(headers)),
    });
    return { message: plain(message), headers: received };
  } catch (error) {
    return { error: failure(error) };
  }
}

/** Messages of a stream so far, and its end. */
const watched = [];

/** Watches a service's health, until it ends, is to be aborted, or its time is over. */
function watch({ url, service = "", timeoutMs, abortAfter = Infinity }) {
  const progress = { statuses: [] };
  const abort = new AbortController();
  const follow = async () => {
    const options = { timeoutMs, signal: abort.signal };
    for await (const { status } of client("Health", url).watch({ service }, options)) {
      progress.statuses.push(ServingStatus[status]);
      if (progress.statuses.length >= abortAfter) abort.abort();
    }
  };
  progress.ended = follow().catch((error) => (progress.error = failure(error)));
  return watched.push(progress) - 1;
}

/** Waits for a stream's next status, or all of them at its end. */
async function statuses({ stream, count }) {
  const progress = watched[stream];
  const have = async () => {
    while (progress.statuses.length < count) await new Promise((go) => setTimeout(go, 10));
  };
  await Promise.race([have(), progress.ended]);
  return progress.statuses;
}

async function ending({ stream }) {
  const progress = watched[stream];
  await progress.ended;
  return { statuses: progress.statuses, error: progress.error };
}

/** Calls a path over REST. */
async function rest({ url, path, method = "GET", token, body, headers = {}, credentials }) {
  const all = { ...headers };
  if (token) all.authorization = `Bearer ${token}`;
  if (body !== undefined) all["content-type"] = "application/json";
  try {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const answer = await fetch(url + path, { method, headers: all, body: text, credentials });
    return { status: answer.status, headers: headersOf(answer.headers), body: await answer.json() };
  } catch (error) {
    return { rejected: error.name };
  }
}

Object.assign(globalThis, { keyward: { call, ending, rest, statuses, watch } });
