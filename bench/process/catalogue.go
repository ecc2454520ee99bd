// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package process

import (
	"fmt"
	"slices"
	"strings"
)

// A Server is one that can be measured.
type Server struct {
	Name    string
	Summary string
	Dir     string // of its module, below the repository's root
	Package string // of its program, below Dir
	Library string // path of the module that is measured, for its version
}

// The modules that servers are built from. Those other than the first are reported apart when they are built.
const (
	own    = "."
	rivals = "bench/rivals"
)

// Servers are all that -servers knows, in the order in which reports list them.
var Servers = []Server{
	{"reactor", "this project's reactor", own, "./bench/target", "github.com/quartet-go/quartet"},
	{"goroutine", "package net, a goroutine for each connection", own, "./bench/target", "std"},
	{"gnet", "gnet's engine, a write for each message", own, "./bench/target", "github.com/panjf2000/gnet/v2"},
	{"gnet-batch", "gnet's engine, one write for the messages of a read", own, "./bench/target", "github.com/panjf2000/gnet/v2"},
	{"nbio", "nbio", rivals, ".", "github.com/lesismal/nbio"},
	{"netpoll", "cloudwego/netpoll", rivals, ".", "github.com/cloudwego/netpoll"},
	{"evio", "evio", rivals, ".", "github.com/tidwall/evio"},
	{"gev", "gev", rivals, ".", "github.com/Allenxuxu/gev"},
}

// hidden are servers for tests of the benchmark itself.
var hidden = []Server{{"liar", "echoes with errors, on purpose", own, "./bench/target", "std"}}

// Named finds the servers of a comma-separated list; "all" is every one.
func Named(list string) ([]Server, error) {
	if list == "all" {
		return Servers, nil
	}
	var found []Server
	for _, name := range strings.Split(list, ",") {
		i := slices.IndexFunc(Servers, func(s Server) bool { return s.Name == name })
		h := slices.IndexFunc(hidden, func(s Server) bool { return s.Name == name })
		if i < 0 && h < 0 {
			return nil, fmt.Errorf("no server is called %q, want all or some of %s", name, Names())
		}
		if slices.ContainsFunc(found, func(s Server) bool { return s.Name == name }) {
			return nil, fmt.Errorf("%q is named twice", name)
		}
		if i >= 0 {
			found = append(found, Servers[i])
		} else {
			found = append(found, hidden[h])
		}
	}
	return found, nil
}

// Names lists the names of all servers.
func Names() string {
	var names []string
	for _, s := range Servers {
		names = append(names, s.Name)
	}
	return strings.Join(names, ",")
}
