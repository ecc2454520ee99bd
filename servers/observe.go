// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/inspect"
	"github.com/quartet-go/quartet/reactor/metrics"
	"github.com/quartet-go/quartet/reactor/trace"
	"github.com/quartet-go/quartet/servers/top"
)

// traceEvents bounds what -trace keeps of each loop: 8 MiB in memory, some 15 MiB as JSON.
const traceEvents = 1 << 16

// writeTrace writes what was recorded.
func writeTrace(t *reactor.Trace, cfg *config, log *slog.Logger) {
	t.Stop()
	events, lost := t.Events()
	file, write := cfg.trace, trace.Chrome
	if cfg.story {
		write = trace.Story
	}
	if err := errors.Join(write(file, events), file.Close()); err != nil {
		log.Error("trace", "err", err)
		return
	}
	log.Info("trace", "file", file.Name(), "events", len(events), "overwritten", lost)
}

// What a client of the metrics may keep waiting. A profile is taken for as long as its client asks.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = time.Minute
)

// An observer is what -metrics asks for. nil does nothing.
type observer struct {
	address string
	server  *http.Server
	log     *slog.Logger
	over    context.Context // done when it is closed
	end     context.CancelFunc
}

// observe serves what -metrics asks for until it is closed, or the program ends. A successor may have to wait for the
// address, which its predecessor has until the successor serves.
func observe(r *reactor.Reactor, cfg *config, log *slog.Logger, successor bool) (*observer, error) {
	if cfg.metrics == "" {
		return nil, nil
	}
	o := &observer{address: cfg.metrics, log: log, server: &http.Server{
		Handler: pages(r), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}
	o.over, o.end = context.WithCancel(context.Background())
	lis, err := net.Listen("tcp", o.address)
	switch {
	case err == nil:
		go o.serve(lis)
	case successor && errors.Is(err, syscall.EADDRINUSE):
		go o.await()
	default:
		return nil, err
	}
	return o, nil
}

// await serves when the predecessor has let go of the address.
func (o *observer) await() {
	ctx, cancel := context.WithTimeout(o.over, readyTime)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			o.log.Error("no metrics", "address", o.address, "err", "the predecessor still has the address")
			return
		}
		if lis, err := net.Listen("tcp", o.address); err == nil {
			o.serve(lis)
			return
		}
	}
}

func (o *observer) serve(lis net.Listener) {
	o.log.Info("metrics", "url", "http://"+lis.Addr().String()+"/metrics")
	if err := o.server.Serve(lis); err != http.ErrServerClosed {
		o.log.Error("metrics", "err", err)
	}
}

// close gives the address up. Who is being answered is not cut off.
func (o *observer) close() {
	if o == nil {
		return
	}
	o.end()
	go func() { _ = o.server.Shutdown(context.Background()) }() // returns an error of closing the socket, at most
}

func pages(r *reactor.Reactor) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.New(r), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.Handle(top.Path, inspect.Handler(r))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
