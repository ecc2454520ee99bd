// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Servers is the small internet services of RFC 862 to 868, and three of its own, message, udp-reply and frames, as one
// program, which also shows what another of its kind is doing:
//
//	servers SERVICE [flags]
//	servers top URL [flags]
//
// SIGINT and SIGTERM have it drain, a second one end at once; on SIGHUP a successor takes over.
//
// Reading order of the files: main.go (the program's life), services.go (what it can serve; each service is a package
// below this folder, for use on any reactor), flags.go, listen.go, handover.go (how a successor takes over),
// observe.go (what shows it at work; package demo has something to show), top.go, log.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/servers/demo"
)

// What the program's exit says.
const (
	exitOK     = 0
	exitFailed = 1 // a listener that cannot be had, connections aborted, a second signal
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	// From here on a signal is not the end of the process: what is opened is also closed.
	signals, hangups := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if len(args) > 0 && args[0] == "top" {
		return runTop(args[1:], signals)
	}
	if !signal.Ignored(syscall.SIGHUP) { // nohup(1)
		signal.Notify(hangups, syscall.SIGHUP)
	}

	given, err := reactor.Inherited()
	if err != nil {
		return complain(exitFailed, err)
	}
	cfg, err := parse(args, given)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return complain(exitUsage, err)
	}
	if cfg.profile != nil {
		if err := pprof.StartCPUProfile(cfg.profile); err != nil {
			return complain(exitFailed, err)
		}
		defer cfg.profile.Close()
		defer pprof.StopCPUProfile()
	}
	p := &program{cfg: cfg, log: newLogger(cfg), signals: signals, hangups: hangups}
	cfg.reactor.Logger = p.log
	if p.reactor, err = reactor.New(cfg.reactor); err != nil {
		return complain(exitFailed, err)
	}
	if p.listeners, err = listen(p.reactor, cfg, p.log); err != nil {
		_ = p.reactor.Close() // nothing has been served; it removes the socket files of the listeners that could be had
		return complain(exitFailed, err)
	}
	if p.observers, err = observe(p.reactor, cfg, p.log, given.FromPredecessor()); err != nil {
		_ = p.reactor.Close()
		return complain(exitFailed, err)
	}
	if cfg.trace != nil {
		t, err := p.reactor.Trace(reactor.TraceOptions{Events: traceEvents})
		if err != nil {
			_ = p.reactor.Close()
			return complain(exitFailed, err)
		}
		defer writeTrace(t, cfg, p.log)
	}
	p.announce(given)
	return p.serve()
}

// complain tells in one line why there will be no service.
func complain(exit int, err error) int {
	fmt.Fprintln(os.Stderr, "servers:", strings.ReplaceAll(err.Error(), "\n", "; "))
	return exit
}

// closeTime bounds what a second signal waits for: that the files of sockets are removed, unless a loop is stuck.
const closeTime = time.Second

// A program is one that listens.
type program struct {
	cfg       *config
	log       *slog.Logger
	reactor   *reactor.Reactor
	listeners []*reactor.Listener // in the order of cfg.endpoints
	observers observers
	signals   <-chan os.Signal // to stop
	hangups   <-chan os.Signal // to be replaced
}

// announce tells that the program listens: on standard output, or its predecessor, who has told.
func (p *program) announce(given *reactor.Inheritance) {
	defer given.Close() // the listeners have their own
	if !given.FromPredecessor() {
		for i, lis := range p.listeners {
			fmt.Println("listening", p.cfg.endpoints[i].kind(), lis.Addr())
		}
		return
	}
	if err := given.Ready(); err != nil {
		p.log.Warn("the predecessor does not listen", "err", err)
	}
	for i, lis := range p.listeners {
		if s := p.cfg.endpoints[i].socket; s != nil && s.Unlink {
			lis.SetUnlinkOnClose(true)
		}
	}
}

// serve runs the reactor. The first signal makes it drain, the second ends it at once; a hang-up starts a successor,
// and when that serves, the reactor drains.
func (p *program) serve() int {
	ctx, drain := context.WithCancel(context.Background())
	defer drain()
	ended := make(chan error, 1)
	go func() { ended <- p.reactor.Serve(ctx) }()
	p.log.Info("started")
	p.demonstrate(ctx)

	hangups := p.hangups
	handing, giveUp := context.WithCancel(ctx)
	defer giveUp()
	handed, retired := make(chan error, 1), make(chan struct{})
	starting := false
	for draining := false; !draining; {
		select {
		case err := <-ended:
			return stopped(p.log, err)
		case <-hangups:
			p.log.Info("starting a successor")
			hangups, starting = nil, true // one at a time
			go func() { handed <- handOver(handing, p.listeners, p.log) }()
		case err := <-handed:
			starting = false
			if err != nil {
				p.log.Error("no successor, serving on", "err", err)
				hangups = p.hangups
				continue
			}
			p.observers.close() // the successor waits for the address
			go func() {
				retire(handing, p.reactor, p.listeners, p.cfg.reactor.DrainTimeout)
				close(retired)
			}()
		case <-retired:
			draining = true
		case s := <-p.signals:
			p.log.Info("stopping", "signal", s.String())
			draining = true
		}
	}
	drain()
	if starting {
		<-handed // or it would be left alone, to serve
	}
	select {
	case err := <-ended:
		return stopped(p.log, err)
	case s := <-p.signals:
		p.log.Warn("stopping at once", "signal", s.String())
	}
	closed := make(chan error, 1)
	go func() { closed <- p.reactor.Close() }()
	select {
	case <-closed:
	case <-time.After(closeTime):
	}
	return exitFailed
}

// demonstrate has the clients of -demo use the first stream listener, until ctx is done.
func (p *program) demonstrate(ctx context.Context) {
	if p.cfg.demo == 0 {
		return
	}
	enc, _ := p.cfg.codec.(codec.Encoder)
	for i, lis := range p.listeners {
		if kind := p.cfg.endpoints[i].kind(); kind != "udp" {
			go demo.Run(ctx, kind, lis.Addr().String(), enc, p.cfg.demo)
			return
		}
	}
}

func stopped(log *slog.Logger, err error) int {
	if err != nil {
		log.Error("stopped", "err", err)
		return exitFailed
	}
	log.Info("stopped")
	return exitOK
}
