// Signs in by the device flow with golang.org/x/oauth2, as any program of somebody else would: ISSUER CLIENT_ID.
// It says a line of JSON for each step: the code for people to type, then the tokens, then those after a refresh.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/oauth2"
)

type discovery struct {
	Device     string `json:"device_authorization_endpoint"`
	Token      string `json:"token_endpoint"`
	Revocation string `json:"revocation_endpoint"`
}

func say(step string, value any) {
	line, err := json.Marshal(map[string]any{"step": step, "value": value})
	if err != nil {
		log.Fatal(err)
	}
	os.Stdout.Write(append(line, '\n'))
}

func tokens(token *oauth2.Token) map[string]any {
	return map[string]any{"access": token.AccessToken, "refresh": token.RefreshToken, "type": token.TokenType,
		"lasts": time.Until(token.Expiry).Seconds()}
}

func main() {
	issuer, clientID := os.Args[1], os.Args[2]
	// Names below .localhost are this machine, whatever its resolver thinks.
	dialer := &net.Dialer{}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}}}
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), oauth2.HTTPClient, client), time.Minute)
	defer cancel()
	answer, err := client.Get(issuer + "/.well-known/openid-configuration")
	if err != nil {
		log.Fatal(err)
	}
	var found discovery
	if err := json.NewDecoder(answer.Body).Decode(&found); err != nil {
		log.Fatal(err)
	}
	config := &oauth2.Config{ClientID: clientID, Scopes: []string{"openid", "offline_access", "hms"},
		Endpoint: oauth2.Endpoint{DeviceAuthURL: found.Device, TokenURL: found.Token, AuthStyle: oauth2.AuthStyleInParams}}
	device, err := config.DeviceAuth(ctx)
	if err != nil {
		log.Fatal(err)
	}
	say("code", map[string]any{"code": device.UserCode, "at": device.VerificationURI})
	token, err := config.DeviceAccessToken(ctx, device)
	if err != nil {
		log.Fatal(err)
	}
	say("tokens", tokens(token))
	old := *token
	old.Expiry = time.Now().Add(-time.Hour)
	fresh, err := config.TokenSource(ctx, &old).Token()
	if err != nil {
		log.Fatal(err)
	}
	say("refreshed", tokens(fresh))
	form := url.Values{"token": {fresh.RefreshToken}, "client_id": {clientID}}
	revoked, err := client.PostForm(found.Revocation, form)
	if err != nil {
		log.Fatal(err)
	}
	say("revoked", revoked.StatusCode)
	ended := *fresh
	ended.Expiry = time.Now().Add(-time.Hour)
	_, err = config.TokenSource(ctx, &ended).Token()
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		log.Fatalf("a revoked token was good for another: %v", err)
	}
	say("refused", refused.ErrorCode)
}
