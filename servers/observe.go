// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/metrics"
	"github.com/quartet-go/quartet/reactor/trace"
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

// observe serves what -metrics asks for, until the program ends.
func observe(r *reactor.Reactor, cfg *config, log *slog.Logger) error {
	if cfg.metrics == "" {
		return nil
	}
	lis, err := net.Listen("tcp", cfg.metrics)
	if err != nil {
		return err
	}
	log.Info("metrics", "url", "http://"+lis.Addr().String()+"/metrics")
	server := &http.Server{
		Handler: observer(r), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	go func() { log.Error("metrics", "err", server.Serve(lis)) }()
	return nil
}

func observer(r *reactor.Reactor) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.New(r), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
