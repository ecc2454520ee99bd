// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"log/slog"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/servers/chargen"
	"github.com/quartet-go/quartet/servers/daytime"
	"github.com/quartet-go/quartet/servers/discard"
	"github.com/quartet-go/quartet/servers/echo"
	"github.com/quartet-go/quartet/servers/frames"
	"github.com/quartet-go/quartet/servers/message"
	"github.com/quartet-go/quartet/servers/timeservice"
	"github.com/quartet-go/quartet/servers/udpreply"
)

// A service is what the program can be asked for.
type service struct {
	name, summary string
	networks      []string // of tcp, unix and udp
	stream        func(cfg *config, log *slog.Logger) reactor.AcceptFunc
	datagram      reactor.PacketFunc
}

var services = []*service{
	{
		name: "echo", summary: "sends back what it receives (RFC 862)",
		networks: []string{"tcp", "unix", "udp"}, stream: plain(echo.Stream), datagram: echo.Datagram,
	},
	{
		name: "discard", summary: "receives and drops (RFC 863)",
		networks: []string{"tcp", "unix", "udp"}, stream: plain(discard.Stream), datagram: discard.Datagram,
	},
	{
		name: "chargen", summary: "sends a rotating pattern of 72 columns (RFC 864)",
		networks: []string{"tcp", "udp"}, stream: plain(chargen.Stream), datagram: chargen.Datagram,
	},
	{
		name: "daytime", summary: "tells the time as text, in UTC (RFC 867)",
		networks: []string{"tcp", "udp"}, stream: plain(daytime.Stream), datagram: daytime.Datagram,
	},
	{
		name: "time", summary: "tells the seconds since 1900 in four bytes (RFC 868)",
		networks: []string{"tcp", "udp"}, stream: plain(timeservice.Stream), datagram: timeservice.Datagram,
	},
	{
		name: "message", summary: "reads one message of -size octets, logs it and answers " + message.Answer,
		networks: []string{"tcp", "unix"},
		stream:   func(cfg *config, log *slog.Logger) reactor.AcceptFunc { return message.Stream(cfg.size, log) },
	},
	{
		name: "udp-reply", summary: "tells the sender how long its datagram was",
		networks: []string{"udp"}, datagram: udpreply.Datagram,
	},
	{
		name: "frames", summary: "decodes frames with -codec and answers each with its length in 4 bytes and its payload",
		networks: []string{"tcp", "unix"},
		stream:   func(cfg *config, log *slog.Logger) reactor.AcceptFunc { return frames.Stream(cfg.codec, log) },
	},
}

// plain is for services that need no configuration.
func plain(accept reactor.AcceptFunc) func(*config, *slog.Logger) reactor.AcceptFunc {
	return func(*config, *slog.Logger) reactor.AcceptFunc { return accept }
}
