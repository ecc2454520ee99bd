// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A command line that is wrong is told so in one line, with the flag, the value and what would be right, and exit 2.
func TestBadFlags(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args string
		line []string // parts of the line
	}{
		{"", []string{"SERVICE is missing", "echo", "udp-reply"}},
		{"ecko", []string{`unknown SERVICE "ecko"`, "echo"}},
		{"-loops 1 echo", []string{`unknown SERVICE "-loops"`, "before any flag"}},
		{"echo discard", []string{`unexpected argument "discard"`}},
		{"echo -lops 1", []string{"-lops", "-h"}},
		{"echo -loops", []string{"-loops", "want -loops N"}},
		{"echo -listen", []string{"-listen", "want -listen URL"}},
		{"echo -idle-timeout", []string{"-idle-timeout", "want -idle-timeout DURATION"}},
		{"frames -codec", []string{"-codec", "want -codec SPEC"}},
		{"echo ---loops 1", []string{"---loops", "servers echo -h"}},
		{"echo -loops -1", []string{"-loops", `"-1"`, "0 to 1024"}},
		{"echo -loops 1025", []string{"-loops", `"1025"`, "0 to 1024"}},
		{"echo -loops two", []string{"-loops", `"two"`, "whole number"}},
		{"echo -reuseport=maybe", []string{"-reuseport", `"maybe"`, "true or false"}},
		{"echo -backlog -1", []string{"-backlog", `"-1"`, "from 0"}},
		{"echo -max-conns 1.5", []string{"-max-conns", `"1.5"`, "whole number"}},
		{"echo -idle-timeout 10", []string{"-idle-timeout", `"10"`, "10s"}},
		{"echo -idle-timeout -1s", []string{"-idle-timeout", `"-1s"`, "0 or more"}},
		{"echo -drain-timeout soon", []string{"-drain-timeout", `"soon"`, "10s"}},
		{"echo -high-water 64KB", []string{"-high-water", `"64KB"`, "64KiB"}},
		{"echo -low-water -1", []string{"-low-water", `"-1"`, "whole number of bytes"}},
		{"echo -max-output many", []string{"-max-output", `"many"`, "64KiB"}},
		{"echo -high-water 32MiB", []string{"-high-water 32MiB", "-max-output 16MiB"}},
		{"echo -max-output 1000", []string{"-max-output 1000", "-high-water 64KiB"}},
		{"echo -low-water 65537", []string{"-low-water 65537", "-high-water 64KiB"}},
		{"frames -codec morse", []string{"-codec", `"morse"`, "fixed:N"}},
		{"frames -codec len:9", []string{"-codec", `"len:9"`, "1 to 8"}},
		{"frames -codec fixed:0", []string{"-codec", `"fixed:0"`}},
		{"frames -codec length:size=4,size=4", []string{"-codec", "size", "twice"}},
		{"frames -codec length:sise=4", []string{"-codec", `"sise"`, "size"}},
		{"echo -codec morse", []string{"-codec", `"morse"`}},
		{"message -size 0", []string{"-size", `"0"`, "1 to"}},
		{"message -size -4", []string{"-size", `"-4"`}},
		{"echo -log-level loud", []string{"-log-level", `"loud"`, "debug, info, warn or error"}},
		{"echo -metrics 9100", []string{"-metrics", `"9100"`, "host:port"}},
		{"echo -metrics :http", []string{"-metrics", `":http"`, "65535"}},
		{"echo -inspect 8080", []string{"-inspect", `"8080"`, "host:port"}},
		{"echo -inspect :8080 -demo 1", []string{"-demo", `"1"`, "300ms"}},
		{"udp-reply -demo 1s", []string{"-demo 1s", "tcp or unix"}},
		{"echo -slow-handler 100", []string{"-slow-handler", `"100"`, "10s"}},
		{"echo -trace /no/such/folder/trace", []string{"-trace", "/no/such/folder/trace", "no such file", "want a file that can be written"}},
		{"top", []string{"top", "0 URLs", "http://127.0.0.1:9100"}},
		{"top :1 :2", []string{"top", `":2"`, "want one"}},
		{"top ftp://localhost", []string{`"ftp://localhost"`, "host:port"}},
		{"top :9100 -n few", []string{"-n", `"few"`, "whole number"}},
		{"top -interval 1h :9100", []string{"-interval", `"1h"`, "30s"}},
		{"top :9100 -interval", []string{"-interval", "want -interval DURATION"}},
		{"top -size 3 :9100", []string{"-size", "servers top -h"}},
		{"echo -cpuprofile /no/such/folder/profile", []string{"-cpuprofile", "/no/such/folder/profile", "no such file", "want a file that can be written"}},
		{"echo -listen 127.0.0.1:1060", []string{"-listen", `"127.0.0.1:1060"`, "tcp://host:port"}},
		{"echo -listen tcp://127.0.0.1", []string{"-listen", `"tcp://127.0.0.1"`, "tcp://host:port"}},
		{"echo -listen tcp://127.0.0.1:65536", []string{"-listen", `"tcp://127.0.0.1:65536"`, "65535"}},
		{"echo -listen tcp://127.0.0.1:", []string{"-listen", `"tcp://127.0.0.1:"`, "65535"}},
		{"echo -listen http://127.0.0.1:80", []string{"-listen", `"http://127.0.0.1:80"`, "unix://path"}},
		{"echo -listen unix://", []string{"-listen", `"unix://"`, "unix://path"}},
		{"udp-reply -listen tcp://:0", []string{"-listen", `"tcp://:0"`, "udp"}},
		{"message -listen udp://:0", []string{"-listen", `"udp://:0"`, "tcp, unix"}},
		{"chargen -listen unix://x", []string{"-listen", `"unix://x"`, "tcp, udp"}},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			r := runToEnd(t, strings.Fields(test.args)...)
			require.Equal(t, 2, r.code)
			require.Empty(t, r.stdout)
			requireOneLine(t, r.stderr, test.line...)
		})
	}
}

func requireOneLine(t *testing.T, text string, parts ...string) {
	t.Helper()
	require.True(t, strings.HasSuffix(text, "\n"), text)
	require.Equal(t, 1, strings.Count(text, "\n"), text)
	for _, part := range parts {
		require.Contains(t, text, part)
	}
}

// Help is no failure, and tells all there is.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-h"}, {"--help"}} {
		r := runToEnd(t, args...)
		require.Zero(t, r.code)
		for _, service := range []string{"echo", "discard", "chargen", "daytime", "time", "message", "udp-reply", "frames", "top"} {
			require.Contains(t, r.stdout, "\n  "+service+" ")
		}
	}
	r := runToEnd(t, "message", "-h")
	require.Zero(t, r.code)
	for _, name := range []string{
		"listen", "loops", "reuseport", "backlog", "max-conns", "idle-timeout", "first-byte-timeout", "frame-timeout", "high-water",
		"low-water", "max-output", "drain-timeout", "codec", "size", "log-level", "cpuprofile", "metrics", "inspect", "demo", "slow-handler", "trace",
	} {
		require.Contains(t, r.stdout, "\n  -"+name)
	}
}

// Sizes have no upper bounds but their order.
func TestLargeSizes(t *testing.T) {
	t.Parallel()
	s := start(t, "echo", "-high-water", "100GiB", "-low-water", "100GiB", "-max-output", "9223372036854775807")
	require.Equal(t, "hello", string(s.ask([]byte("hello"))))
	s.stop()
}
