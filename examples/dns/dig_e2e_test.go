// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build e2e

package main_test

import (
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// The client that people have at hand.
func TestDig(t *testing.T) {
	dig, err := exec.LookPath("dig")
	if err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), "%v", err)
		t.Skip(err)
	}
	s, udp, _ := start(t)
	host, port, err := net.SplitHostPort(udp)
	require.NoError(t, err)
	for _, test := range []struct {
		args []string
		want string // a regular expression
	}{
		{[]string{"+short", "www.example.test"}, `^192\.0\.2\.80\n192\.0\.2\.81\n$`},
		{[]string{"+short", "www.example.test", "AAAA"}, `^2001:db8::80\n$`},
		{[]string{"+short", "text.example.test", "TXT"}, `^"one string" "and another"\n$`},
		{[]string{"+short", "-x", "192.0.2.80"}, `^www\.example\.test\.\n$`},
		{[]string{"+short", "-x", "2001:db8::80"}, `^www\.example\.test\.\n$`},
		{[]string{"+short", "+tcp", "www.example.test", "AAAA"}, `^2001:db8::80\n$`},
		{[]string{"+short", "+noedns", "www.example.test", "AAAA"}, `^2001:db8::80\n$`},
		{[]string{"nobody.example.test"}, `status: NXDOMAIN[^$]*flags: qr aa rd;[^$]*\tSOA\t`},
		{[]string{"www.example.test", "TXT"}, `status: NOERROR[^$]*ANSWER: 0, AUTHORITY: 1[^$]*\tSOA\t`},
		{[]string{"example.org"}, `status: REFUSED`},
		{[]string{"example.test", "AXFR"}, `Transfer failed`},
		{[]string{"www.example.test", "ANY", "+notcp"}, `"RFC8482"`},
		{[]string{"+opcode=STATUS", "www.example.test"}, `opcode: STATUS, status: NOTIMP`},
		{[]string{"+header-only"}, `status: FORMERR`},
		{[]string{"+edns=1", "+noednsneg", "www.example.test"}, `status: BADVERS`},
		// Cut short over UDP, whole over TCP, to which dig turns by itself.
		{[]string{"+noedns", "+ignore", "many.example.test", "TXT"}, `flags: qr aa tc rd;`},
		{[]string{"+noedns", "many.example.test", "TXT"}, `Truncated, retrying in TCP mode[^$]*flags: qr aa rd;[^$]*ANSWER: 8,[^$]*\(TCP\)`},
		{[]string{"+bufsize=1232", "many.example.test", "TXT"}, `flags: qr aa rd;[^$]*ANSWER: 8,[^$]*udp: 1232[^$]*\(UDP\)`},
		{[]string{"+bufsize=4096", "more.example.test", "TXT"}, `Truncated, retrying in TCP mode[^$]*ANSWER: 100,[^$]*\(TCP\)`},
	} {
		args := append([]string{"@" + host, "-p", port, "+time=20", "+tries=1"}, test.args...)
		out, err := exec.Command(dig, args...).CombinedOutput()
		require.NoError(t, err, "%s: %s", test.args, out)
		require.Regexp(t, test.want, string(out), "%s", test.args)
	}
	s.Stop()
}
