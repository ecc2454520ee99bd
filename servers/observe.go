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
	"github.com/quartet-go/quartet/reactor/live"
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

// An observer serves what -metrics or -inspect asks for.
type observer struct {
	flag     string
	address  string
	path     string       // where it has something to see
	listener net.Listener // nil if the predecessor has the address
	server   *http.Server
	log      *slog.Logger
	over     context.Context // done when it is closed
	end      context.CancelFunc
}

// observers are those of a program. None do nothing.
type observers []*observer

// observe serves what -metrics and -inspect ask for until they are closed, or the program ends. A successor may have to
// wait for the addresses, which its predecessor has until the successor serves.
func observe(r *reactor.Reactor, cfg *config, log *slog.Logger, successor bool) (list observers, err error) {
	if cfg.metrics != "" {
		list = append(list, newObserver("metrics", cfg.metrics, "/metrics", pages(r), log))
	}
	if cfg.inspect != "" {
		o := newObserver("inspect", cfg.inspect, "/", live.Handler(r), log)
		o.server.BaseContext = func(net.Listener) context.Context { return o.over } // or who watches would stay
		list = append(list, o)
	}
	for _, o := range list { // all of them, before any tells that it is there
		o.listener, err = net.Listen("tcp", o.address)
		if waits := successor && errors.Is(err, syscall.EADDRINUSE); err != nil && !waits {
			return nil, err
		}
	}
	for _, o := range list {
		if o.listener == nil {
			go o.await()
		} else {
			go o.serve(o.listener)
		}
	}
	return list, nil
}

func newObserver(flag, address, path string, h http.Handler, log *slog.Logger) *observer {
	o := &observer{flag: flag, address: address, path: path, log: log}
	o.over, o.end = context.WithCancel(context.Background())
	o.server = &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return o
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
			o.log.Error("no "+o.flag, "address", o.address, "err", "the predecessor still has the address")
			return
		}
		if lis, err := net.Listen("tcp", o.address); err == nil {
			o.serve(lis)
			return
		}
	}
}

func (o *observer) serve(lis net.Listener) {
	o.log.Info(o.flag, "url", "http://"+lis.Addr().String()+o.path)
	if err := o.server.Serve(lis); err != http.ErrServerClosed {
		o.log.Error(o.flag, "err", err)
	}
}

// close gives the addresses up. Who watches is sent away; who is being answered is not cut off.
func (list observers) close() {
	for _, o := range list {
		o.end()
		go func() { _ = o.server.Shutdown(context.Background()) }() // returns an error of closing the socket, at most
	}
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
