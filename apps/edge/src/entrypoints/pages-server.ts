import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Injectable } from '@nestjs/common';
import { metrics, SpanKind } from '@opentelemetry/api';
import accepts from 'accepts';
import helmet from 'helmet';
import { inSpan, Log } from '#observability/index.js';
import { FindNotice } from '../application/find-notice.js';
import { newAddress } from '../domain/new-address.js';
import { type Notice, noticeCodes } from '../domain/notice.js';
import { page, problem, styleHash } from './page.js';

const protect = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      styleSrc: [`'${styleHash}'`],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
  xFrameOptions: { action: 'deny' },
  // Whether to insist on TLS is the instance's own affair.
  strictTransportSecurity: false,
});

/**
 * Answers every request for a host whose route leads here, whatever its path and method, with why there is no Odoo, or with
 * where it is now. On a port of its own: everybody may come here, and health and metrics are nobody's business.
 */
@Injectable()
export class PagesServer {
  private readonly server: Server;
  private readonly answers = metrics.getMeter('mesh.edge').createCounter('mesh.edge.answers', {
    description: 'Requests for instances that do not answer themselves, by what they were told.',
  });

  constructor(
    private readonly notices: FindNotice,
    private readonly log: Log,
  ) {
    for (const notice of [...noticeCodes, 'moved']) this.answers.add(0, { notice });
    this.server = createServer((request, response) => this.serve(request, response));
    // Nobody needs to send a body that nobody reads; whether it comes all the same cannot be known.
    this.server.on('checkContinue', (request, response) => {
      response.shouldKeepAlive = false;
      this.serve(request, response);
    });
  }

  /** Resolves when it answers; rejects when the address cannot be had. */
  async listen(port: number, host: string): Promise<void> {
    await once(this.server.listen(port, host), 'listening');
    this.log.info('pages are served', { host, port: this.port });
  }

  /** Where it listens. */
  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Resolves when what was asked before has been answered. */
  async close(): Promise<void> {
    if (!this.server.listening) return;
    const closed = once(this.server, 'close');
    this.server.close();
    this.server.closeIdleConnections();
    await closed;
  }

  private serve(request: IncomingMessage, response: ServerResponse): void {
    this.answer(request, response).catch((error) => {
      this.log.error('a page could not be sent', { error });
      response.destroy();
    });
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const attributes = { 'http.request.method': request.method ?? '' };
    await inSpan('serve notice', { kind: SpanKind.SERVER, attributes }, async (span) => {
      // What is not read would hold up the next request on the connection.
      request.resume();
      const found = await this.notices.at(request.headers.host);
      const [code, status] = 'movedTo' in found ? ['moved', movedStatus] : [found.code, found.status];
      this.answers.add(1, { notice: code });
      span.setAttribute('http.response.status_code', status);
      protect(request, response, () =>
        'movedTo' in found ? lead(request, response, found.movedTo) : send(request, response, found),
      );
    });
  }
}

/** For good, and with the same method and body; kept nowhere, because the name may be somebody else's one day. */
const movedStatus = 308;

function lead(request: IncomingMessage, response: ServerResponse, host: string): void {
  const location = newAddress(host, request.headers.host, request.url);
  response.writeHead(movedStatus, { Location: location, 'Content-Length': 0, 'Cache-Control': 'no-store' }).end();
}

function send(request: IncomingMessage, response: ServerResponse, notice: Notice): void {
  // A browser's page, unless another kind is wanted more.
  const wanted = accepts(request).type(['text/html', 'application/problem+json', 'application/json']) || 'text/html';
  const [type, text] =
    wanted === 'text/html' ? ['text/html; charset=utf-8', page(notice)] : ['application/problem+json', problem(notice)];
  response
    .writeHead(notice.status, {
      'Content-Type': type,
      'Content-Length': Buffer.byteLength(text),
      'Cache-Control': 'no-store',
      'Content-Language': 'en',
      Vary: 'Accept',
      ...(notice.retryAfter !== undefined && { 'Retry-After': notice.retryAfter }),
    })
    .end(request.method === 'HEAD' ? undefined : text);
}
