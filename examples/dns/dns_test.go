// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/examples/internal/program"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }

// start runs the program.
func start(t *testing.T, args ...string) (s *program.Server, udp, tcp string) {
	t.Helper()
	s = program.Start(t, 2, program.Build(t, "."), append(args, "-listen", "127.0.0.1:0")...)
	require.Equal(t, s.Addrs[0], s.Addrs[1], "udp and tcp have one port")
	return s, s.Addrs[0], s.Addrs[1]
}

// ask sends a query and returns the response and its length.
func ask(t *testing.T, network, server string, query *dns.Msg) (r *dns.Msg, size int) {
	t.Helper()
	c, err := dns.DialTimeout(network, server, patience)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	c.UDPSize = dns.MaxMsgSize
	require.NoError(t, c.WriteMsg(query))
	packed, err := c.ReadMsgHeader(nil)
	require.NoError(t, err)
	r = new(dns.Msg)
	require.NoError(t, r.Unpack(packed))
	require.Equal(t, query.Id, r.Id)
	require.True(t, r.Response)
	return r, len(packed)
}

// data returns what records say, without their names and lifetimes.
func data(records []dns.RR) (list []string) {
	for _, rr := range records {
		list = append(list, dns.Type(rr.Header().Rrtype).String()+" "+strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return list
}

func TestAnswers(t *testing.T) {
	_, udp, tcp := start(t)
	const www6 = "0.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."
	for _, test := range []struct {
		name  string
		qtype uint16
		rcode int
		want  []string
	}{
		{"www.example.test.", dns.TypeA, dns.RcodeSuccess, []string{"A 192.0.2.80", "A 192.0.2.81"}},
		{"www.example.test.", dns.TypeAAAA, dns.RcodeSuccess, []string{"AAAA 2001:db8::80"}},
		{"WwW.eXample.TEST.", dns.TypeAAAA, dns.RcodeSuccess, []string{"AAAA 2001:db8::80"}},
		{"text.example.test.", dns.TypeTXT, dns.RcodeSuccess, []string{`TXT "one string" "and another"`}},
		{"80.2.0.192.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, []string{"PTR www.example.test."}},
		{www6, dns.TypePTR, dns.RcodeSuccess, []string{"PTR www.example.test."}},
		{"example.test.", dns.TypeNS, dns.RcodeSuccess, []string{"NS ns.example.test."}},
		{"example.test.", dns.TypeSOA, dns.RcodeSuccess, []string{"SOA ns.example.test. hostmaster.example.test. 1 86400 7200 2419200 300"}},
		{"www.example.test.", dns.TypeANY, dns.RcodeSuccess, []string{`HINFO "RFC8482" ""`}},

		{"www.example.test.", dns.TypeTXT, dns.RcodeSuccess, nil},    // no such data
		{"er.example.test.", dns.TypeA, dns.RcodeSuccess, nil},       // only names below it
		{"nobody.example.test.", dns.TypeA, dns.RcodeNameError, nil}, // no such name
		{"a.www.example.test.", dns.TypeA, dns.RcodeNameError, nil},  // nor below one that there is
		{"90.2.0.192.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, nil},

		{"example.org.", dns.TypeA, dns.RcodeRefused, nil}, // somebody else's
		{"test.", dns.TypeNS, dns.RcodeRefused, nil},
		{".", dns.TypeNS, dns.RcodeRefused, nil},
		{"example.test.", dns.TypeAXFR, dns.RcodeRefused, nil},
	} {
		for network, server := range map[string]string{"udp": udp, "tcp": tcp} {
			t.Run(strings.Join([]string{network, test.name, dns.Type(test.qtype).String()}, " "), func(t *testing.T) {
				query := new(dns.Msg).SetQuestion(test.name, test.qtype)
				r, _ := ask(t, network, server, query)
				require.Equal(t, dns.RcodeToString[test.rcode], dns.RcodeToString[r.Rcode])
				require.Equal(t, test.want, data(r.Answer))
				require.Equal(t, query.Question, r.Question)
				require.Equal(t, test.rcode != dns.RcodeRefused, r.Authoritative)
				require.True(t, r.RecursionDesired)
				require.False(t, r.RecursionAvailable)
				require.Empty(t, r.Extra)
				if test.want == nil && r.Authoritative { // how long that may be remembered
					require.Len(t, r.Ns, 1)
					require.Equal(t, uint32(300), r.Ns[0].(*dns.SOA).Hdr.Ttl)
				} else {
					require.Empty(t, r.Ns)
				}
			})
		}
	}
}

// A response is as long as the client takes, and over UDP never longer than 1232 bytes; what is left out is told.
func TestTruncation(t *testing.T) {
	_, udp, tcp := start(t)
	for _, test := range []struct {
		network string
		name    string
		edns    uint16 // the size that the client takes; 0 says nothing
		records int    // of all; 0 means truncated
		max     int
	}{
		{"udp", "www", 0, 0, 512}, // no TXT there: fits
		{"udp", "many", 0, 0, 512},
		{"udp", "many", 100, 0, 512}, // below 512 is 512 (RFC 6891, section 6.2.3)
		{"udp", "many", 600, 0, 600},
		{"udp", "many", 1232, 8, 1232},
		{"udp", "more", 4096, 0, 1232},
		{"udp", "more", 65535, 0, 1232},
		{"tcp", "many", 0, 8, 65535},
		{"tcp", "more", 512, 100, 65535},
	} {
		t.Run(fmt.Sprintf("%s %s %d", test.network, test.name, test.edns), func(t *testing.T) {
			query := new(dns.Msg).SetQuestion(test.name+".example.test.", dns.TypeTXT)
			if test.edns > 0 {
				query.SetEdns0(test.edns, true)
			}
			server := udp
			if test.network == "tcp" {
				server = tcp
			}
			r, size := ask(t, test.network, server, query)
			require.Equal(t, dns.RcodeSuccess, r.Rcode)
			require.LessOrEqual(t, size, test.max)
			switch {
			case test.name == "www":
				require.False(t, r.Truncated)
			case test.records > 0:
				require.False(t, r.Truncated)
				require.Len(t, r.Answer, test.records)
			default:
				require.True(t, r.Truncated)
				require.Greater(t, size, test.max*3/4, "most of it is used")
			}
			if opt := r.IsEdns0(); test.edns > 0 {
				require.NotNil(t, opt)
				require.Equal(t, uint16(1232), opt.UDPSize())
				require.True(t, opt.Do())
			} else {
				require.Nil(t, opt)
			}
		})
	}
}

// message returns the bytes of a message: a header with an ID of 4711, the bits and the counts of questions and of
// additional records, and what follows.
func message(bits string, questions, additional int, rest string) []byte {
	b, err := hex.DecodeString("1267" + bits + fmt.Sprintf("%04x00000000%04x", questions, additional) + rest)
	if err != nil {
		panic(err)
	}
	return b
}

// What is no proper query gets the answer that says why, or none.
func TestMalformed(t *testing.T) {
	const (
		question = "03777777" + "076578616d706c65" + "0474657374" + "00" + "0001" + "0001" // www.example.test. A IN
		chaos    = "03777777" + "076578616d706c65" + "0474657374" + "00" + "0001" + "0003"
		opt      = "00" + "0029" + "04d0" + "00000000" + "0000"
		opt1     = "00" + "0029" + "04d0" + "00010000" + "0000" // EDNS version 1

		silence = -1
	)
	_, udp, _ := start(t)
	for _, test := range []struct {
		name    string
		message []byte
		rcode   int
	}{
		{"proper", message("0000", 1, 0, question), dns.RcodeSuccess},
		{"proper with EDNS", message("0000", 1, 1, question+opt), dns.RcodeSuccess},
		{"more than it says", message("0000", 1, 0, question+"ffff"), dns.RcodeSuccess},
		{"empty", nil, silence},
		{"less than a header", message("0000", 1, 0, "")[:11], silence},
		{"a response", message("8000", 1, 0, question), silence},
		{"a response that is malformed", message("8000", 1, 0, "ff"), silence},
		{"a response with another opcode", message("a800", 1, 0, question), silence},
		{"no question", message("0000", 0, 0, ""), dns.RcodeFormatError},
		{"less than it says", message("0000", 1, 0, ""), dns.RcodeFormatError},
		{"two questions", message("0000", 2, 0, question+question), dns.RcodeFormatError},
		{"a question cut short", message("0000", 1, 0, question[:20]), dns.RcodeFormatError},
		{"a name that points at itself", message("0000", 1, 0, "c00c"+"0001"+"0001"), dns.RcodeFormatError},
		{"two OPT records", message("0000", 1, 2, question+opt+opt), dns.RcodeFormatError},
		{"EDNS of tomorrow", message("0000", 1, 1, question+opt1), dns.RcodeBadVers},
		{"status", message("1000", 1, 0, question), dns.RcodeNotImplemented},
		{"notify", message("2000", 1, 0, question), dns.RcodeNotImplemented},
		{"update", message("2800", 1, 0, question), dns.RcodeNotImplemented},
		{"update that is malformed", message("2800", 1, 0, "ff"), dns.RcodeNotImplemented},
		{"another class", message("0000", 1, 0, chaos), dns.RcodeRefused},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := net.Dial("udp", udp)
			require.NoError(t, err)
			defer c.Close()
			require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
			_, err = c.Write(test.message)
			require.NoError(t, err)
			if test.rcode == silence { // the first that is heard is the answer to what is asked afterwards
				_, err = c.Write(message("1000", 0, 0, ""))
				require.NoError(t, err)
				test.message, test.rcode = message("1000", 0, 0, ""), dns.RcodeNotImplemented
			}
			buf := make([]byte, 1<<16)
			n, err := c.Read(buf)
			require.NoError(t, err)
			var r dns.Msg
			require.NoError(t, r.Unpack(buf[:n]))
			require.Equal(t, dns.RcodeToString[test.rcode], dns.RcodeToString[r.Rcode])
			require.True(t, r.Response)
			require.Equal(t, uint16(0x1267), r.Id)
			require.Equal(t, int(test.message[2]>>3), r.Opcode)
		})
	}
}

// Two servers, each of which takes the other for its client, would answer each other for ever. Here the client plays the
// other one: it sends back what it gets.
func TestNoLoop(t *testing.T) {
	_, udp, _ := start(t)
	c, err := net.Dial("udp", udp)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	buf := make([]byte, 1<<16)
	for id := range uint16(50) {
		query := new(dns.Msg).SetQuestion("www.example.test.", dns.TypeA)
		query.Id = id
		packed, err := query.Pack()
		require.NoError(t, err)
		_, err = c.Write(packed)
		require.NoError(t, err)
		n, err := c.Read(buf)
		require.NoError(t, err)
		var r dns.Msg
		require.NoError(t, r.Unpack(buf[:n]))
		require.Equal(t, id, r.Id, "the answer to an answer")
		_, err = c.Write(buf[:n])
		require.NoError(t, err)
	}
}

// Queries may be pipelined on a connection (RFC 7766), also a byte at a time; what is no query ends it.
func TestStream(t *testing.T) {
	s, _, tcp := start(t)
	c, err := dns.DialTimeout("tcp", tcp, patience)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	const queries = 100
	var stream []byte
	for i := range queries {
		query := new(dns.Msg).SetQuestion("more.example.test.", dns.TypeTXT)
		query.Id = uint16(i)
		packed, err := query.Pack()
		require.NoError(t, err)
		stream = append(append(stream, 0, byte(len(packed))), packed...)
	}
	for i := range 100 {
		_, err = c.Conn.Write(stream[i : i+1])
		require.NoError(t, err)
	}
	_, err = c.Conn.Write(stream[100:])
	require.NoError(t, err)
	for i := range queries {
		r, err := c.ReadMsg()
		require.NoError(t, err)
		require.Equal(t, uint16(i), r.Id)
		require.Len(t, r.Answer, 100)
	}
	_, err = c.Conn.Write([]byte("\x00\x05short"))
	require.NoError(t, err)
	_, err = c.ReadMsg()
	require.ErrorContains(t, err, "EOF")
	s.Stop()
}

// Loops share the zones.
func TestManyClients(t *testing.T) {
	s, udp, tcp := start(t)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			network, server := "udp", udp
			if i%2 == 0 {
				network, server = "tcp", tcp
			}
			c := dns.Client{Net: network, Timeout: patience, UDPSize: 1232}
			for range 50 {
				query := new(dns.Msg).SetQuestion("many.example.test.", dns.TypeTXT).SetEdns0(1232, false)
				r, _, err := c.Exchange(query, server)
				if err != nil || len(r.Answer) != 8 {
					t.Errorf("client %d: %v, %v", i, r, err)
					return
				}
			}
		})
	}
	all.Wait()
	s.Stop()
}

func TestZoneFiles(t *testing.T) {
	const soa = "example. 60 SOA ns hostmaster 1 2 3 4 5\n"
	file := filepath.Join(t.TempDir(), "zone")
	for _, test := range []struct{ zone, want string }{
		{"", "zone: no SOA record, so no zone"},
		{"www.example. 60 A 192.0.2.1\n", "zone: no SOA record, so no zone"},
		{soa + "www.example. 60 A 192.0.2.256\n", `bad A A: "192.0.2.256" at line: 2`},
		{soa + soa, "a second SOA record"},
		{soa + "www.example.org. 60 A 192.0.2.1\n", "www.example.org. is in no zone that has a SOA record"},
		{soa + "www.example. 60 CH TXT hello\n", "class must be IN"},
		{soa + "www.example. 60 CNAME example.\n", "aliases are not served"},
		{soa + "*.example. 60 A 192.0.2.1\n", "wildcards are not served"},
		{soa + "sub.example. 60 NS ns.example.\n", "NS records of sub.example.: the zone example. cannot delegate here"},
		{soa + "$INCLUDE /etc/hostname\n", "$INCLUDE"},
	} {
		require.NoError(t, os.WriteFile(file, []byte(test.zone), 0o600))
		out, err := exec.Command(program.Build(t, "."), "-listen", "127.0.0.1:0", "-zone", file).CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), test.want)
		require.Contains(t, string(out), file)
	}

	require.NoError(t, os.WriteFile(file, []byte(soa+"www.example. 60 A 192.0.2.1\n"), 0o600))
	s := program.Start(t, 2, program.Build(t, "."), "-listen", "127.0.0.1:0", "-zone", file)
	r, _ := ask(t, "udp", s.Addrs[0], new(dns.Msg).SetQuestion("www.example.", dns.TypeA))
	require.Equal(t, []string{"A 192.0.2.1"}, data(r.Answer))

	out, err := exec.Command(program.Build(t, "."), "-listen", s.Addrs[0]).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "address already in use")
	out, err = exec.Command(program.Build(t, "."), "-zone", file+"s").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "no such file or directory")
	s.Stop()
}

// Neither who says nothing nor who takes for ever over a query keeps a connection.
func TestSlowClients(t *testing.T) {
	_, _, tcp := start(t, "-patience", "100ms")
	for _, pause := range []time.Duration{0, 10 * time.Millisecond} {
		conn, err := net.Dial("tcp", tcp)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		if pause > 0 {
			_, err := conn.Write([]byte{0xff, 0xff}) // a query of 65,535 bytes
			require.NoError(t, err)
			drip := time.NewTicker(pause)
			defer drip.Stop()
			for range drip.C {
				if _, err := conn.Write([]byte{0}); err != nil {
					require.False(t, os.IsTimeout(err), "still there")
					break
				}
			}
			continue
		}
		_, err = conn.Read(make([]byte, 1))
		require.False(t, os.IsTimeout(err), "still there")
		require.Error(t, err)
	}
}
