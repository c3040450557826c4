"""What several test files share. A test file imports it by name; fixtures are in the conftest.py of each folder.

module            what it gives                                                   used for

a company
companies         a company over HTTP, with its keys, endpoints and clients       functions, faults
tenants           a company on the database, with no HTTP between                 database
everything        a company with a row in every table                             privileges, tenants, the audit
rows              a company's rows, as the superuser sees them                    what was stored, and what was not
books             every contradiction in a company's books                        after whatever was done to them

what providers send
stripe_objects    Stripe's objects and events, a builder for each and version     readers, webhooks, faults
whop_objects      Whop's, in each of its shapes                                   readers, webhooks, faults
providers         Stripe's and Whop's APIs on this machine                        reconciliation
corpus            what providers once sent                                        readers, webhooks
odd               values as no provider sends them                                readers

requests
requests          one good request for every route                                bad input, every answer
examples          what each of events/ leads to                                   functions, bundle
answers           what every answer owes its reader                               functions
jobs              running a scheduled function                                    functions, faults
links             links as visitors follow them                                   clicks
growth            a referrer whom many people come by                             tiers, caps, campaigns, milestones
points            points given, spent and got back over HTTP                      redemptions, statements
log_lines         a log, read as Lambda reads it                                  the served bundle, faults
vault             AWS Secrets Manager in this process                             secrets

many at once, and in the middle
clients           HTTP clients in processes of their own (one_client is one)      races over HTTP
tellers           the same, straight on the database                              races in SQL
traffic           a mix of every kind of write, and what must come of it          broken databases
invocations       invocations that can be killed (one_invocation is one)          killed anywhere
wire_proxy        a wire to PostgreSQL that counts and can be cut                 trips, lost answers
waiting           waiting until something holds; GOODWORD_PATIENCE                whatever waits

second reckonings
stories           one referred person: what is told, known and must stand         the engine, settlement
plays             such a story on the database                                    settlement
lives             lives of customers as events of their provider                  any order, any number of times
reckoning         what payments earn, from the words of docs/rules.md             the engine
chain             the ledger's chain, from the words of docs/operations.md        sealing

the run itself
connections       connections that one test after the other is lent               fixtures
dealing           which process of a run is given which tests                     a run in several processes
"""
