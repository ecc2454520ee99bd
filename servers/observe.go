// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
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
)

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
